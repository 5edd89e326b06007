"""Curated data schemas."""
