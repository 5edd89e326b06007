"""What came of a log, for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from pipeline import features
from pipeline.report.formats import figure
from serving.monitoring.monitor import Monitored

_HEADER = (
    "version",
    "images",
    "patients",
    "from",
    "to (UTC)",
    "doubted",
    "farthest feature",
    "score",
    "distance",
    "findings",
)


def monitor_table(monitored: Monitored) -> Table:
    """A row a version, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in _HEADER:
        table.add_column(
            name, justify="left" if name in ("from", "to (UTC)", "farthest feature") else "right"
        )
    for judgement in monitored.judgements:
        farthest = max(judgement.skew, key=lambda distance: distance.value or 0)
        answers = {answer.name: answer.value for answer in judgement.answers}
        times = judgement.frame["time"]
        table.add_row(
            str(judgement.version),
            str(len(judgement.frame)),
            str(judgement.patients) if judgement.patients else "–",
            times.iloc[0].strftime("%Y-%m-%d %H:%M"),
            times.iloc[-1].strftime("%Y-%m-%d %H:%M"),
            f"{judgement.doubted:.1%}",
            f"{farthest.feature} {figure(farthest.value)}",
            *(figure(answers.get(name)) for name in (features.SCORE, features.DISTANCE)),
            str(len(judgement.findings)),
        )
    return table
