"""How well each candidate's scores tell the classes apart, at any threshold."""

from __future__ import annotations

import math
from typing import Any

from pipeline import features
from pipeline.report.charts.frame import Axis
from pipeline.report.charts.line_chart import Chart, Line, line_chart
from pipeline.report.curve_points import CurvePoints, curve_points
from pipeline.report.inputs import EVALUATED, Inputs
from pipeline.report.section import Section

_TITLE = "ROC and precision-recall"
_SHARE = (0.0, 1.0)


def curves(inputs: Inputs) -> Section:
    """Both curves of every candidate, on test and on validation patients."""
    if not inputs.predictions:
        return Section("curves", _TITLE, missing="No candidate was evaluated in this run.")
    positive = inputs.record.config["data"]["classes"][1]
    charts, undefined = [], []
    for split in reversed(EVALUATED):
        points = {
            name: _points(predictions[predictions[features.SPLIT] == split])
            for name, predictions in inputs.predictions.items()
        }
        defined = {name: curve for name, curve in points.items() if curve}
        if defined:
            charts.append(
                (split, [_roc(defined, split, positive), _precision_recall(defined, split, positive)])
            )
        else:
            undefined.append(split)
    return Section("curves", _TITLE, {"charts": charts, "undefined": undefined})


def _points(predictions: Any) -> CurvePoints | None:
    if predictions.empty:
        return None
    return curve_points(
        predictions[features.SCORE].to_numpy(float),
        predictions[features.LABEL].to_numpy(),
        threshold=float(predictions[features.THRESHOLD].iloc[0]),
    )


def _roc(curves: dict[str, CurvePoints], split: str, positive: str) -> Chart:
    chance = Line("chance", [(0, 0), (1, 1)], colour=0, dashed=True)
    lines = [
        Line(name, curve.roc, colour=number, dashed=number % 2 == 0, marked=(curve.roc_at,))
        for number, (name, curve) in enumerate(curves.items(), start=1)
    ]
    at = "; ".join(f"{name} {curve.roc_at[1]:.2f} at {curve.roc_at[0]:.2f}" for name, curve in curves.items())
    return line_chart(
        [chance, *lines],
        x=Axis("1 − specificity (share of images)", *_SHARE),
        y=Axis(f"sensitivity for {positive} (share of images)", *_SHARE),
        label=f"ROC curves on {split} images. Sensitivity at 1 − specificity, at the thresholds: {at}",
    )


def _precision_recall(curves: dict[str, CurvePoints], split: str, positive: str) -> Chart:
    lines = [
        Line(
            name,
            curve.precision_recall,
            colour=number,
            dashed=number % 2 == 0,
            marked=(curve.precision_recall_at,),
        )
        for number, (name, curve) in enumerate(curves.items(), start=1)
    ]
    at = "; ".join(
        f"{name} {curve.precision_recall_at[1]:.2f} at {curve.precision_recall_at[0]:.2f}"
        for name, curve in curves.items()
        if not math.isnan(curve.precision_recall_at[1])
    )
    return line_chart(
        lines,
        x=Axis(f"recall of {positive} (share of images)", *_SHARE),
        y=Axis("precision (share of images)", *_SHARE),
        label=f"Precision-recall curves on {split} images. Precision at recall, at the thresholds: {at}",
    )
