"""Random draws: weighted and shuffled, from counter-based random numbers, in numba kernels."""
