"""Scores per sample: those that a sampler requests, and those that are made before a run."""
