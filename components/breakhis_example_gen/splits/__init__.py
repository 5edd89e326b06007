"""Divides patients into train, validation and test, and never splits one."""
