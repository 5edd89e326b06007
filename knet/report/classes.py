"""Section of the report page on each of more than two classes: table and one-vs-rest curves of the winner."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from knet.base import schema_names
from knet.report.charts import Chart
from knet.report.inputs import Inputs, Section
from knet.report.metric_sections import curve_points, precision_recall_chart, roc_chart

_TITLE = "Classes"
_COLUMNS: Final = {
    "support": "images",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
}


def classes(inputs: Inputs) -> Section | None:
    """Return the winner's metrics and curves of each class against the others; None with two classes."""
    if len(inputs.classes) == 2:
        return None
    winner = inputs.record.winner
    if winner is None or winner not in inputs.predictions:
        return Section("classes", _TITLE, missing="No winner was selected in this run.")
    splits = {}
    for split in reversed(schema_names.EVALUATED_SPLITS):
        whole = inputs.slices(winner, split)[0]
        splits[split] = {
            "rows": {name: whole["classes"][name] for name in inputs.classes},
            "patients": whole["patients"],
            "notes": whole["notes"],
            "charts": _one_vs_rest(inputs, winner, split),
        }
    return Section("classes", _TITLE, {"columns": _COLUMNS, "splits": splits})


def _one_vs_rest(inputs: Inputs, candidate: str, split: str) -> list[Chart]:
    """Return ROC and precision-recall curves of each class; none without images of two classes."""
    predictions = inputs.predictions[candidate]
    rows = predictions[predictions[schema_names.SPLIT] == split]
    if rows.empty:
        return []
    probabilities: Any = np.stack(rows[schema_names.PROBABILITIES])
    labels = rows[schema_names.LABEL].to_numpy()
    curves = {
        name: curve_points(probabilities[:, label], (labels == label).astype(int), threshold=None)
        for label, name in enumerate(inputs.classes)
    }
    defined = {name: curve for name, curve in curves.items() if curve}
    if not defined:
        return []
    return [
        roc_chart(defined, split, "the class"),
        precision_recall_chart(defined, split, "the class"),
    ]
