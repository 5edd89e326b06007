"""Whether a probability is what it says."""

from __future__ import annotations

from pipeline.model_info import ModelInfo
from pipeline.report.charts.frame import Axis
from pipeline.report.charts.line_chart import Chart, Line, line_chart
from pipeline.report.inputs import Inputs
from pipeline.report.section import Section

_TITLE = "Calibration"


def calibration(inputs: Inputs) -> Section:
    """Reliability before and after the temperature, and how many images are not vouched for."""
    infos = {name: candidate.info for name, candidate in inputs.record.candidates.items()}
    if not infos:
        return Section("calibration", _TITLE, missing="No candidate was trained to its end in this run.")
    positive = inputs.record.config["data"]["classes"][1]
    return Section(
        "calibration",
        _TITLE,
        {
            "infos": infos,
            "charts": [_diagram(name, info, positive) for name, info in infos.items()],
        },
    )


def _diagram(name: str, info: ModelInfo, positive: str) -> Chart:
    before, after = info.calibration.before, info.calibration.after
    lines = [Line("perfect", [(0, 0), (1, 1)], colour=0, dashed=True)]
    for number, (when, reliability) in enumerate((("before", before), ("after", after)), start=1):
        points = [
            (bin.mean_score, bin.positive_share)
            for bin in reliability.bins
            if bin.mean_score is not None and bin.positive_share is not None
        ]
        lines.append(Line(when, points, colour=3 - number, dashed=when == "before", marked=points))
    return line_chart(
        lines,
        x=Axis(f"mean probability of {positive}", 0, 1),
        y=Axis(f"share of images that are {positive}", 0, 1),
        label=f"Reliability of {name} on validation images; calibration error {before.calibration_error:.3f} "
        f"before and {after.calibration_error:.3f} after",
    )
