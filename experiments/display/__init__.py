"""What a person sees: progress, tables, figures and error messages."""
