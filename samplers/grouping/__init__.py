"""Clusters and core-sets of samples."""
