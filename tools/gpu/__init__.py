"""The GPU check: correctness, rates and bottlenecks on a machine with a GPU."""
