"""Pixels -> the space a method works in, and back."""
