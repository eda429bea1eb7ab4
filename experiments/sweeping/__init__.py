"""Many cells as one directory of runs: which are wanted, which are there, and running the others."""
