"""Curated TFDV schemas of ingested examples."""

from collections.abc import Iterable
from pathlib import Path

BREAKHIS = Path(__file__).with_name("breakhis.pbtxt")
IMAGES = Path(__file__).with_name("images.pbtxt")  # of a manifest's images, without its further columns

_COLUMN = """\
feature {{
  name: "{name}"
  type: BYTES
  presence {{ min_fraction: 1.0 min_count: 1 }}
  shape {{ dim {{ size: 1 }} }}
  not_in_environment: "SERVING"
}}
"""


def manifest_schema(columns: Iterable[str]) -> str:
    """Return the schema of a manifest's images, in text format.

    Args:
        columns: Names of the manifest's further columns, each a text.
    """
    return IMAGES.read_text(encoding="utf-8") + "".join(_COLUMN.format(name=name) for name in columns)
