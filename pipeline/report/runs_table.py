"""A table of runs for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from pipeline.errors import UserError
from pipeline.report.formats import duration, figure
from pipeline.report.verdict import verdict
from pipeline.run_record import read_record

_HEADER = ("run", "started (UTC)", "verdict", "winner", "chosen by", "on test", "time")


def runs_table(files: Sequence[Path]) -> Table:
    """A row a run, newest first.

    Args:
        files: of the records, oldest first; one of another version has a row without figures.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in _HEADER:
        # On a narrow terminal what a command takes, the run's id, stays whole.
        table.add_column(name, justify="right" if name in _HEADER[5:] else "left", no_wrap=name == "run")
    for file in reversed(files):
        table.add_row(*_row(file))
    return table


def _row(file: Path) -> Sequence[str]:
    try:
        record = read_record(file)
    except UserError:
        return (file.stem, "", "recorded by another version")
    winner = record.candidates.get(record.winner) if record.winner else None
    return (
        record.run_id,
        record.started[:16].replace("T", " "),
        verdict(record).word,
        record.winner or "–",
        record.metric,
        figure(winner.metrics.get("test", {}).get(record.metric) if winner else None),
        duration(sum(node.seconds for node in record.nodes)),
    )
