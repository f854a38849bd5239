"""Base classes of samplers (rounds, weighted rounds, passes) and tables of per-sample statistics."""
