"""Bare numba loops, called through the modules that own their meaning."""
