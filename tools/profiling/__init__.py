"""Profile of a run: every component of a step alone, all of them together, and the bottleneck."""
