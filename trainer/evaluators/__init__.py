"""Evaluators: what is measured on held-out data."""
