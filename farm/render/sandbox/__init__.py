"""Images, decoded where one that takes over its decoder can do no harm.

A process of its own for each image: without environment, files, network or rights, within limits
of memory and time (confine.py, seccomp.py). It comes from a forker (forker.py), which has Pillow
loaded already, and only ever sees the bytes of its own image. Whoever asks (pool.py) reads the
file's structure first (farm.container.image) and believes no answer that does not fit it. Nothing
here imports Pillow into the process that asks; decoder.py and forker.py are for the other ones.
"""
