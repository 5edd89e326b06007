"""Tuner: hyperparameter search on training patients."""
