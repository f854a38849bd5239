"""Use of the hardware: device and memory, precision, compilation."""
