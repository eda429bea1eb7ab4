"""Files, locks, checkpoints and result rows on disk."""
