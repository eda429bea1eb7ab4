"""Pure image augmentations."""
