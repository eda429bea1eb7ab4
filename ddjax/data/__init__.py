"""Data sets with stable ids."""
