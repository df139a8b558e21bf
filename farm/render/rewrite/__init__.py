"""Exact rewrites of diffusers' modules: the same function of the same weights, in less time.

Each is built from a stock module and shares its weights; the stock module stays as it was. What
differs is the order of sums, so frames agree to within rounding (docs/BENCHMARKS.md).
"""
