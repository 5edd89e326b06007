"""Our accuracies beside the paper's, as in its figure 21, and its table 3."""

from __future__ import annotations

from pipeline.report.charts.bar_chart import Bar, bar_chart
from pipeline.report.inputs import Inputs
from pipeline.report.paper_results import ACCURACY, CITATION, YEAR
from pipeline.report.section import Section

_TITLE = "Beside the paper"


def paper(inputs: Inputs) -> Section:
    """Accuracy on test images of each candidate, the paper's beside it; year, parameters and FLOPs."""
    candidates = inputs.record.candidates
    if not candidates:
        return Section("paper", _TITLE, missing="No candidate was trained to its end in this run.")
    ours = {name: inputs.metrics(name, "test").get("accuracy") for name in candidates}
    groups = [
        (name, [_ours(found), Bar(ACCURACY.get(name), _papers(name), colour=2, hollow=True)])
        for name, found in ours.items()
    ]
    told = "; ".join(
        f"{name}: ours {_ours(found).text}, the paper's {_papers(name)}" for name, found in ours.items()
    )
    return Section(
        "paper",
        _TITLE,
        {
            "chart": bar_chart(
                groups, axis="accuracy on test images", label=f"Accuracy on test images. {told}"
            ),
            "citation": CITATION,
            "candidates": candidates,
            "year": YEAR,
            "synthetic": inputs.record.data.synthetic,
        },
    )


def _ours(found: dict[str, float | None] | None) -> Bar:
    value = found["value"] if found else None
    if found is None or value is None:
        return Bar(None, "not evaluated", colour=1)
    low, high = found["low"], found["high"]
    interval = None if low is None or high is None else (low, high)
    return Bar(value, f"{value:.3f}", colour=1, interval=interval)


def _papers(name: str) -> str:
    return f"{ACCURACY[name]:.2f}" if name in ACCURACY else "no number given"
