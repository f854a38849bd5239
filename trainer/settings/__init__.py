"""A run's settings: rules, fit of its parts, former names, and comparison with those of another run."""
