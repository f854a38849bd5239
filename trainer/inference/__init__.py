"""Forward passes outside of training: prediction, scoring, batch-norm fusing."""
