"""Curated TFDV schemas of ingested examples."""

from collections.abc import Iterable, Sequence
from pathlib import Path

BREAKHIS = Path(__file__).with_name("breakhis.pbtxt")
IMAGES = Path(__file__).with_name("images.pbtxt")  # of a manifest's images, without its further columns

_LABELS = "int_domain {{ min: 0 max: {largest} is_categorical: true }}"
_COLUMN = """\
feature {{
  name: "{name}"
  type: BYTES
  presence {{ min_fraction: 1.0 min_count: 1 }}
  shape {{ dim {{ size: 1 }} }}
  not_in_environment: "SERVING"
}}
"""


def breakhis_schema(classes: Sequence[str]) -> str:
    """Return the schema of the images of BreaKHis, in text format.

    Args:
        classes: Class names in the order of the labels.
    """
    return _read(BREAKHIS, classes)


def manifest_schema(columns: Iterable[str], *, classes: Sequence[str]) -> str:
    """Return the schema of a manifest's images, in text format.

    Args:
        columns: Names of the manifest's further columns, each a text.
        classes: Class names in the order of the labels.
    """
    return _read(IMAGES, classes) + "".join(_COLUMN.format(name=name) for name in columns)


def _read(file: Path, classes: Sequence[str]) -> str:
    """Return the content of a schema with the domain of the labels of these classes."""
    content = file.read_text(encoding="utf-8")
    before, found, after = content.partition(_LABELS.format(largest=1))
    assert found, f"{file} lacks the domain of two labels"
    return before + _LABELS.format(largest=len(classes) - 1) + after
