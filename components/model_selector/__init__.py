"""Chooses the best candidate on validation patients."""
