"""The files that videos come in, by their structure alone: is one whole, and what does it carry.

Nothing here decodes a frame: some reads answer, in plain Python, for the gateway and for machines
that can only submit and download.
"""
