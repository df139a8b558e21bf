"""Bugs that the checker has to find: each a patch of the farm, tried on a copy.

    python -m tests.chaos.planted [NAME ...]

A patch's first lines say what is wrong, which kind of violation tells it, and how to run.
"""
