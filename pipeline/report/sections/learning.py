"""How each candidate learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report.charts.frame import Axis
from pipeline.report.charts.line_chart import Chart, Line, line_chart
from pipeline.report.inputs import Inputs
from pipeline.report.section import Section

_TITLE = "Learning curves"
_MEASURES = {"loss": "loss (nats an image)", "accuracy": "accuracy (share of images)"}


def learning(inputs: Inputs) -> Section:
    """Loss and accuracy by epoch, a pair of charts a candidate."""
    if not inputs.histories:
        return Section("learning", _TITLE, missing="No candidate was trained to its end in this run.")
    rows = [
        {
            "name": name,
            "history": history,
            "seconds": sum(epoch["seconds"] for epoch in history["epochs"]),
            "charts": [_chart(name, history, measure) for measure in _MEASURES],
        }
        for name, history in inputs.histories.items()
    ]
    untrained = [name for name in inputs.record.config["candidates"] if name not in inputs.histories]
    return Section("learning", _TITLE, {"rows": rows, "untrained": untrained})


def _chart(name: str, history: dict[str, Any], measure: str) -> Chart:
    epochs = history["epochs"]
    lines = [
        _line(part, _points(epochs, key), number)
        for number, (part, key) in enumerate((("train", measure), ("validation", f"val_{measure}")), start=1)
    ]
    values = [y for line in lines for _, y in line.points if math.isfinite(y)]
    top = 1.0 if measure == "accuracy" else max(values, default=1.0) * 1.05 or 1.0
    last, best = epochs[-1]["epoch"], history["best_epoch"]
    ends = ", ".join(f"{line.name} {line.points[best - 1][1]:.3f}" for line in lines if line.points)
    return line_chart(
        lines,
        x=Axis("epoch", 1, max(last, 2), whole=True),
        y=Axis(_MEASURES[measure], 0, top),
        label=f"{measure} of {name} over {last} epochs; at the best epoch, {best}: {ends}",
        at=best,
    )


def _line(name: str, points: list[tuple[float, float]], number: int) -> Line:
    alone = points if len(points) == 1 else ()  # else one epoch would not be seen
    return Line(name, points, colour=number, dashed=number == 2, marked=alone)


def _points(epochs: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    return [(epoch["epoch"], epoch[key]) for epoch in epochs if key in epoch]
