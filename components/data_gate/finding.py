"""One thing that is wrong with the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Finding:
    """What was found, and where."""

    split: str
    feature: str  # or `whole set`
    anomaly: str  # in a few words
    details: str


HEADER = ("split", "feature", "anomaly", "details")


def table(findings: Sequence[Finding]) -> str:
    """The findings as lines of aligned columns under a header; the last column runs as long as it must."""
    rows = [HEADER, *(astuple(finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)
