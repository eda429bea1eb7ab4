"""From result rows to tables, figures, verdicts and one page; nothing here trains anything."""
