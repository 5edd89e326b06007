"""Fixtures of the serving tests."""

from serving_fixtures import base_path, png, saved_model, server
