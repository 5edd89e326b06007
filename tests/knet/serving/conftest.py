"""Fixtures of the serving tests."""

from own_package import own_package
from serving_fixtures import base_path, png, saved_model, server
