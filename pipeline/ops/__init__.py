"""Pixel operations on batches of images, in torch."""
