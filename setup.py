"""Entry for tools that run setup.py: builds the distribution that pyproject.toml beside it describes."""

from __future__ import annotations

from setuptools import setup

setup()
