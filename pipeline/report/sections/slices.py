"""How the winner does on parts of the test images."""

from __future__ import annotations

from typing import Any

from pipeline.report.charts.interval_mark import interval_mark
from pipeline.report.inputs import Inputs
from pipeline.report.section import Section

_TITLE = "Slices"


def slices(inputs: Inputs) -> Section:
    """The winner's accuracy on test images by each slice column, and by each pair of them."""
    found = inputs.slices(inputs.record.winner, "test")
    if not found:
        return Section("slices", _TITLE, missing="No winner was chosen in this run.")
    rows = [_row(part) for part in found]
    if len(rows) == 1:
        return Section(
            "slices", _TITLE, missing="data.slices is empty: the test images are judged as a whole."
        )
    return Section(
        "slices",
        _TITLE,
        {
            "single": [row for row in rows if row["depth"] <= 1],
            "pairs": [row for row in rows if row["depth"] > 1],
            "classes": inputs.record.config["data"]["classes"],
        },
    )


def _row(part: dict[str, Any]) -> dict[str, Any]:
    accuracy = part["metrics"]["accuracy"]
    return {
        **part,
        "depth": len(part["slice"]),
        "name": ", ".join(f"{column} {value}" for column, value in part["slice"].items())
        or "all test images",
        "mark": interval_mark(accuracy["value"], accuracy["low"], accuracy["high"]),
    }
