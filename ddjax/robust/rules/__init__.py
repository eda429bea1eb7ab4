"""The training rules, one file each."""
