"""Blesses the chosen model if it is good enough on test patients."""
