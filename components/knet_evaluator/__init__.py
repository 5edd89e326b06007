"""Evaluator: TFMA metrics by slice and a table of every image's prediction."""
