"""Runs for images without a recipe: how the images are found, and what is chosen for them."""
