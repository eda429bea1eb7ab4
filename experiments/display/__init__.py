"""Output of the commands: progress, tables, figures and error messages."""
