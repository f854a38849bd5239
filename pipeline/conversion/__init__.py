"""Conversion of a source to a data set."""
