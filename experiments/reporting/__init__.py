"""Tables, figures, verdicts and one page from result rows. Nothing here trains a model."""
