"""Benchmarks: each measures ours and its peers in turn, in one run."""
