"""Curated data schemas."""

from pathlib import Path

BREAKHIS = Path(__file__).with_name("breakhis.pbtxt")
