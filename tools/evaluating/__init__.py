"""The page of ``trainer evaluate``."""
