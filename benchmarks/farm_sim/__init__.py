"""Simulated workers, and a farm in virtual time; see benchmarks/sim_farm.py."""
