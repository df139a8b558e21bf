"""Inputs that mean harm, made here from fixed seeds, and what the farm must say to each.

`python -m tests.hostile` tries them all and writes the table of docs/HOSTILE_INPUTS.md.
"""
