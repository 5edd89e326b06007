"""Metrics, rules and the run report."""
