"""Updates that are more than plain ones: clipped, accumulated, averaged, recomputed."""
