"""Pusher: writes a new model version atomically."""
