"""Studies: grids of runs, how they are run side by side, and what they amount to."""
