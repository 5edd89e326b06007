"""Experiments: many trainings that answer one question, each a command of its own."""
