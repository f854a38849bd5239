"""Loading: orders to batches on the device."""
