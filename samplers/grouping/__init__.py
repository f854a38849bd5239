"""Groups and covering subsets of samples: k-means, core-sets."""
