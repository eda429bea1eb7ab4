"""From an experiment to its result row."""
