"""Thin commands over the library: they choose, call and write down; they compute nothing."""
