"""A hostile world: who may do what, and inputs that mean harm, made here from fixed seeds.

`python -m tests.hostile` tries them all and writes the table of docs/HOSTILE_INPUTS.md.
"""
