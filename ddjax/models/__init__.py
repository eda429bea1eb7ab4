"""Networks as records of pure functions."""
