"""The GPU check: whether everything is right on a machine with a GPU, how fast it is, and what bounds it."""
