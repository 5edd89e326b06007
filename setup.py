"""Packaging entry for tools that need one, such as Beam's --setup_file; metadata is in pyproject.toml."""

from __future__ import annotations

from setuptools import setup

setup()
