"""The rules of the farm: what a shot may ask for, its states, retries and scheduling.

Standard library only, no I/O: every function here is pure and tested as a table.
"""
