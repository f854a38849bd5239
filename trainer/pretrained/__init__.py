"""Weights that a run begins from, and what goes with them: their normalization, and frozen parts."""
