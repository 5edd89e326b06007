"""Metrics by patient, confidence intervals, model selection, gate rules and explanations."""
