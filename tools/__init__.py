"""The commands of ``trainer``."""
