"""The two spirals of Kocyigit (2023), section 2.3.3: unsupervised batch normalization of points."""
