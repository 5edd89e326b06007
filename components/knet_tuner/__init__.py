"""Searches hyperparameters on the training patients."""
