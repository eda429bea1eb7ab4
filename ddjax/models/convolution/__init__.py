"""Convolution: XLA's own on accelerators, matrix products on a CPU."""
