"""Which classes are taken for which."""

from __future__ import annotations

from pipeline.report.inputs import EVALUATED, Inputs
from pipeline.report.section import Section

_TITLE = "Confusion matrices"


def confusion(inputs: Inputs) -> Section:
    """A matrix a candidate and split, over images, at the threshold that the model was exported with."""
    if inputs.results is None:
        return Section("confusion", _TITLE, missing="The run ended before the candidates were compared.")
    rows = [
        {
            "name": name,
            "threshold": found["threshold"],
            "matrices": {
                split: _matrix(found["splits"][split][0]["confusion"]) for split in reversed(EVALUATED)
            },
        }
        for name, found in ((name, inputs.results["candidates"][name]) for name in inputs.compared)
    ]
    return Section("confusion", _TITLE, {"rows": rows, "classes": inputs.record.config["data"]["classes"]})


def _matrix(counts: dict[str, int]) -> list[list[int]]:
    """Rows are true classes, columns what they are called."""
    return [
        [counts["true_negatives"], counts["false_positives"]],
        [counts["false_negatives"], counts["true_positives"]],
    ]
