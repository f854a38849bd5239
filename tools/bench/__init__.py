"""Benchmarks: each measures this project and its peers, interleaved in one run."""
