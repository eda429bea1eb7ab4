"""The check-up of an accelerator: commands of this project as jobs, their rows, and a page of them."""
