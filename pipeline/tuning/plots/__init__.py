"""Plots of a search, as SVG."""
