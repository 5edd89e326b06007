"""Curated data schemas."""

from collections.abc import Iterable
from pathlib import Path

BREAKHIS = Path(__file__).with_name("breakhis.pbtxt")
IMAGES = Path(__file__).with_name("images.pbtxt")  # of any other image set, but for its columns

_COLUMN = """\
feature {{
  name: "{name}"
  type: BYTES
  presence {{ min_fraction: 1.0 min_count: 1 }}
  shape {{ dim {{ size: 1 }} }}
  not_in_environment: "SERVING"
}}
"""


def of_images(columns: Iterable[str]) -> str:
    """The schema of a manifest's images, with one text a column."""
    return IMAGES.read_text(encoding="utf-8") + "".join(_COLUMN.format(name=name) for name in columns)
