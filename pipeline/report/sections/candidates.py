"""Every candidate's figures, and why one of them won."""

from __future__ import annotations

from pipeline.report.charts.interval_mark import interval_mark
from pipeline.report.inputs import EVALUATED, Inputs
from pipeline.report.section import Section

_TITLE = "Candidates"
_METRICS = {
    "accuracy": "accuracy (images)",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "calibration_error": "calibration error",
    "brier": "Brier score",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patient decision accuracy",
}


def candidates(inputs: Inputs) -> Section:
    """The decision, and all metrics with their intervals on test and on validation patients."""
    if inputs.results is None or inputs.decision is None:
        return Section("candidates", _TITLE, missing="The run ended before the candidates were compared.")
    names = inputs.compared
    chosen = [
        {"name": name, "mark": interval_mark(found["value"], found["low"], found["high"]), **found}
        for name, found in ((name, inputs.decision["candidates"][name]) for name in names)
    ]
    return Section(
        "candidates",
        _TITLE,
        {
            "names": names,
            "chosen": chosen,
            "decision": inputs.decision,
            "titles": _METRICS,
            "positive": inputs.record.config["data"]["classes"][1],
            "splits": {
                split: {name: inputs.metrics(name, split) for name in names} for split in reversed(EVALUATED)
            },
            "resamples": inputs.results["resamples"],
        },
    )
