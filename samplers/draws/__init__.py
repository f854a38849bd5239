"""Random draws: weighted, shuffled, counter-based, on bare numba kernels."""
