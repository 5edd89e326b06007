"""Sections of the report page on metrics: curves, calibration, confusion, slices and heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from knet.base import schema_names
from knet.base.svg import Point
from knet.evaluation.predictions import binary_predictions
from knet.models.model_info import ModelInfo
from knet.report.charts import Axis, Chart, Line, interval_mark, line_chart
from knet.report.inputs import Inputs, Section

_CURVES_TITLE = "ROC and precision-recall"
_SHARE = (0.0, 1.0)


def curves(inputs: Inputs) -> Section | None:
    """Return ROC and precision-recall curves of every candidate, on test and validation images.

    Of more than two classes they are of the positive group; without one the section is None.
    """
    positive = inputs.positive
    if positive is None:
        return None
    if not inputs.predictions:
        return Section("curves", _CURVES_TITLE, missing="No candidate was evaluated in this run.")
    charts, undefined = [], []
    for split in reversed(schema_names.EVALUATED_SPLITS):
        points = {
            name: _curve_points(predictions[predictions[schema_names.SPLIT] == split], inputs)
            for name, predictions in inputs.predictions.items()
        }
        defined = {name: curve for name, curve in points.items() if curve}
        if defined:
            charts.append(
                (
                    split,
                    [roc_chart(defined, split, positive), precision_recall_chart(defined, split, positive)],
                )
            )
        else:
            undefined.append(split)
    return Section("curves", _CURVES_TITLE, {"charts": charts, "undefined": undefined})


def _curve_points(predictions: Any, inputs: Inputs) -> CurvePoints | None:
    if predictions.empty:
        return None
    scores, labels = binary_predictions(predictions, classes=inputs.classes, positive=inputs.group)
    return curve_points(scores, labels, threshold=float(predictions[schema_names.THRESHOLD].iloc[0]))


MAX_POINTS: Final = 150  # of a curve; bounds the size of the page


@dataclass(frozen=True)
class CurvePoints:
    """ROC and precision-recall curve, and the points of a threshold on them."""

    roc: list[Point]  # false positive rate, true positive rate; from (0, 0) to (1, 1)
    precision_recall: list[Point]  # recall, precision
    roc_at: Point | None  # None without a threshold
    precision_recall_at: Point | None  # precision is NaN without positive predictions


def curve_points(
    scores: NDArray[Any], labels: NDArray[Any], *, threshold: float | None
) -> CurvePoints | None:
    """Return both curves, thinned evenly to `MAX_POINTS` points; None without images of both classes.

    Args:
        scores: probability of the positive class, float [images].
        labels: true classes, int [images], 0 or 1.
        threshold: score from which an image is classified as positive; None: no point is marked.
    """
    positives, negatives = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    if not positives or not negatives:
        return None
    false_rate, true_rate, _ = metrics.roc_curve(labels, scores)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
    roc_at = precision_recall_at = None
    if threshold is not None:
        predicted = scores >= threshold
        tp, fp = int(np.sum(predicted & (labels == 1))), int(np.sum(predicted & (labels == 0)))
        roc_at = (fp / negatives, tp / positives)
        precision_recall_at = (tp / positives, tp / (tp + fp) if tp + fp else math.nan)
    return CurvePoints(
        roc=_thinned(false_rate, true_rate),
        precision_recall=_thinned(recall, precision),
        roc_at=roc_at,
        precision_recall_at=precision_recall_at,
    )


def thinned_indices(count: int) -> NDArray[Any]:
    """Return the indices of at most `MAX_POINTS` points of a curve, evenly spaced, with both ends."""
    return np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(int)


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> list[Point]:
    indices = thinned_indices(len(x))
    return list(zip(x[indices].tolist(), y[indices].tolist(), strict=True))


def roc_chart(curves: Mapping[str, CurvePoints], split: str, positive: str) -> Chart:
    """Draw ROC curves.

    Args:
        curves: by name.
        split: name of the split, for the label.
        positive: title of the positive class.
    """
    chance = Line("chance", [(0, 0), (1, 1)], colour=0, dashed=True)
    lines = [
        _curve_line(number, name, curve.roc, curve.roc_at)
        for number, (name, curve) in enumerate(curves.items())
    ]
    at = "; ".join(
        f"{name} {curve.roc_at[1]:.2f} at {curve.roc_at[0]:.2f}"
        for name, curve in curves.items()
        if curve.roc_at
    )
    at = f". Sensitivity at 1 − specificity, at the thresholds: {at}" if at else f" of {', '.join(curves)}"
    return line_chart(
        [chance, *lines],
        x=Axis("1 − specificity (share of images)", *_SHARE),
        y=Axis(f"sensitivity for {positive} (share of images)", *_SHARE),
        label=f"ROC curves on {split} images{at}",
    )


def precision_recall_chart(curves: Mapping[str, CurvePoints], split: str, positive: str) -> Chart:
    """Draw precision-recall curves; arguments as of `roc_chart`."""
    lines = [
        _curve_line(number, name, curve.precision_recall, curve.precision_recall_at)
        for number, (name, curve) in enumerate(curves.items())
    ]
    at = "; ".join(
        f"{name} {curve.precision_recall_at[1]:.2f} at {curve.precision_recall_at[0]:.2f}"
        for name, curve in curves.items()
        if curve.precision_recall_at and not math.isnan(curve.precision_recall_at[1])
    )
    at = f". Precision at recall, at the thresholds: {at}" if at else f" of {', '.join(curves)}"
    return line_chart(
        lines,
        x=Axis(f"recall of {positive} (share of images)", *_SHARE),
        y=Axis("precision (share of images)", *_SHARE),
        label=f"Precision-recall curves on {split} images{at}",
    )


_COLOURS: Final = 6  # of the page's palette


def _curve_line(number: int, name: str, points: list[Point], at: Point | None) -> Line:
    """Return a curve, numbered from 0; of the same colour one is solid and one dashed."""
    dashed = (number + number // _COLOURS) % 2 == 1
    return Line(name, points, colour=number % _COLOURS + 1, dashed=dashed, marked=(at,) if at else ())


_LEARNING_TITLE = "Learning curves"
_MEASURES = {"loss": "loss (nats per image)", "accuracy": "accuracy (share of images)"}


def learning(inputs: Inputs) -> Section:
    """Return loss and accuracy by epoch, two charts per candidate."""
    if not inputs.histories:
        return Section(
            "learning", _LEARNING_TITLE, missing="No candidate completed its training in this run."
        )
    untrained = [name for name in inputs.record.config["candidates"] if name not in inputs.histories]
    return learning_curves(inputs.histories, untrained=untrained)


def learning_curves(histories: Mapping[str, dict[str, Any]], *, untrained: Sequence[str] = ()) -> Section:
    """Return loss and accuracy by epoch, two charts per candidate.

    Args:
        histories: content of the Trainer's history file, by candidate.
        untrained: names of the candidates without one.
    """
    rows = [
        {
            "name": name,
            "history": history,
            "seconds": sum(epoch["seconds"] for epoch in history["epochs"]),
            "charts": [_learning_chart(name, history, measure) for measure in _MEASURES],
        }
        for name, history in histories.items()
    ]
    return Section("learning", _LEARNING_TITLE, {"rows": rows, "untrained": untrained})


def _learning_chart(name: str, history: dict[str, Any], measure: str) -> Chart:
    epochs = history["epochs"]
    lines = [
        _learning_line(part, _learning_points(epochs, key), number)
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


def _learning_line(name: str, points: list[tuple[float, float]], number: int) -> Line:
    marked = points if len(points) == 1 else ()  # a single point has no line
    return Line(name, points, colour=number, dashed=number == 2, marked=marked)


def _learning_points(epochs: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    return [(epoch["epoch"], epoch[key]) for epoch in epochs if key in epoch]


_CALIBRATION_TITLE = "Calibration"


def calibration(inputs: Inputs) -> Section:
    """Return reliability before and after temperature scaling, and the share of images flagged as OOD."""
    infos = {name: candidate.info for name, candidate in inputs.record.candidates.items()}
    if not infos:
        return Section(
            "calibration", _CALIBRATION_TITLE, missing="No candidate completed its training in this run."
        )
    if len(inputs.classes) == 2:
        axes = f"mean probability of {inputs.positive}", f"share of images that are {inputs.positive}"
    else:
        axes = "mean probability of the likeliest class", "share of images of that class"
    return Section(
        "calibration",
        _CALIBRATION_TITLE,
        {
            "infos": infos,
            "charts": [_reliability_diagram(name, info, axes) for name, info in infos.items()],
        },
    )


def _reliability_diagram(name: str, info: ModelInfo, axes: tuple[str, str]) -> Chart:
    before, after = info.calibration.before, info.calibration.after
    lines = [Line("perfect calibration", [(0, 0), (1, 1)], colour=0, dashed=True)]
    for number, (when, reliability) in enumerate((("before", before), ("after", after)), start=1):
        points = [
            (bin.mean_score, bin.positive_share)
            for bin in reliability.bins
            if bin.mean_score is not None and bin.positive_share is not None
        ]
        lines.append(Line(when, points, colour=3 - number, dashed=when == "before", marked=points))
    return line_chart(
        lines,
        x=Axis(axes[0], 0, 1),
        y=Axis(axes[1], 0, 1),
        label=f"Reliability of {name} on validation images; calibration error {before.calibration_error:.3f} "
        f"before and {after.calibration_error:.3f} after",
    )


_CONFUSION_TITLE = "Confusion matrices"


def confusion(inputs: Inputs) -> Section:
    """Return a confusion matrix of images per candidate and split, at the model's own threshold.

    With a positive group of more than two classes there is a second one, of the group.
    """
    if inputs.results is None:
        return Section(
            "confusion", _CONFUSION_TITLE, missing="The run ended before the candidates were compared."
        )
    splits = tuple(reversed(schema_names.EVALUATED_SPLITS))
    rows = []
    for name in inputs.compared:
        found = inputs.results["candidates"][name]
        wholes = {split: found["splits"][split][0] for split in splits}
        matrices = [
            (split, inputs.classes, confusion_matrix(whole["confusion"])) for split, whole in wholes.items()
        ]
        if inputs.group:
            sides = ["other classes", "positive group"]
            matrices += [
                (f"{split}, positive group", sides, confusion_matrix(whole["group"]["confusion"]))
                for split, whole in wholes.items()
            ]
        rows.append({"name": name, "threshold": found["threshold"], "matrices": matrices})
    return Section("confusion", _CONFUSION_TITLE, {"rows": rows, "count": len(inputs.classes)})


def confusion_matrix(counts: Mapping[str, int] | list[list[int]]) -> list[list[int]]:
    """Return the counts with true classes as rows and predicted classes as columns.

    Args:
        counts: of two classes by outcome, of more as rows.
    """
    if isinstance(counts, list):
        return counts
    return [
        [counts["true_negatives"], counts["false_positives"]],
        [counts["false_negatives"], counts["true_positives"]],
    ]


_HEAT_MAPS_TITLE = "Heat maps"
_KINDS = {
    "certain": "Most certain and correct",
    "wrong": "Most confident errors",
    "uncertain": "Most uncertain",
}


def heat_maps(inputs: Inputs) -> Section:
    """Return Grad-CAM heat maps of test images of each kind, and their check against random weights."""
    explained = inputs.explanations
    if explained is None or not explained["images"]:
        return Section(
            "heat_maps",
            _HEAT_MAPS_TITLE,
            missing="No image was explained: the run ended before that, or report.explanations is 0.",
        )
    kinds = [
        (title, [image for image in explained["images"] if image["kind"] == kind])
        for kind, title in _KINDS.items()
    ]
    return Section(
        "heat_maps",
        _HEAT_MAPS_TITLE,
        {**explained, "kinds": kinds, "positive": inputs.classes[1] if len(inputs.classes) == 2 else None},
    )


_SLICES_TITLE = "Slices"


def slices(inputs: Inputs) -> Section:
    """Return the winner's metrics on test images by each slice column, and by each pair of them."""
    found = inputs.slices(inputs.record.winner, schema_names.TEST)
    if not found:
        return Section("slices", _SLICES_TITLE, missing="No winner was selected in this run.")
    rows = [_slice_row(part) for part in found]
    if len(rows) == 1:
        return Section(
            "slices", _SLICES_TITLE, missing="data.slices is empty: the test images have no slices."
        )
    return Section(
        "slices",
        _SLICES_TITLE,
        {
            "single": [row for row in rows if row["depth"] <= 1],
            "pairs": [row for row in rows if row["depth"] > 1],
            "counted": inputs.classes if len(inputs.classes) == 2 else [],
            "metrics": _SLICE_METRICS if len(inputs.classes) == 2 else _CLASS_SLICE_METRICS,
        },
    )


# Titles of the metrics of a slice beside its accuracy: of two classes and of more.
_SLICE_METRICS = {"recall": "recall", "specificity": "specificity", "roc_auc": "ROC-AUC"}
_CLASS_SLICE_METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC-AUC",
}


def _slice_row(part: dict[str, Any]) -> dict[str, Any]:
    accuracy = part["metrics"]["accuracy"]
    return {
        **part,
        "depth": len(part["slice"]),
        "name": ", ".join(f"{column} {value}" for column, value in part["slice"].items())
        or "all test images",
        "mark": interval_mark(accuracy["value"], accuracy["low"], accuracy["high"]),
    }
