"""Commands that a person types: everything behind ``trainer``."""
