"""The profile of a run: every stage of a step alone, all of them together, and what holds them up."""
