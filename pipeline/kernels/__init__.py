"""Numba kernels, called through the modules that define their semantics."""
