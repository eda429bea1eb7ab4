"""Sweeps: a grid of cells, a directory of their runs, and executors of the missing ones."""
