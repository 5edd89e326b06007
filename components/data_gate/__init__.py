"""Stops the run where the data do not match the schema."""
