"""Pushes a blessed model to the served versions, whole or not at all."""
