"""Base classes of samplers: rounds, weighted rounds, sweeps, and the per-sample history."""
