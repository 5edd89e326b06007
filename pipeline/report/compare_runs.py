"""Tables that show two runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from pipeline.evaluation.patient_sample import METRICS
from pipeline.report.config_differences import config_differences
from pipeline.report.formats import duration, estimate
from pipeline.report.inputs import EVALUATED, Inputs
from pipeline.report.verdict import verdict
from pipeline.run_record import RunRecord


def compare_runs(first: Inputs, second: Inputs) -> list[Table]:
    """What they came to, their data, the settings that differ, and the metrics of their winners."""
    records = first.record, second.record
    heads = [record.run_id for record in records]
    differences = config_differences(*(record.config for record in records))
    return [
        _table("runs", heads, zip(_RUN_ROWS, *map(_of_run, records), strict=True)),
        _table("data", heads, zip(_DATA_ROWS, *map(_of_data, records), strict=True)),
        _table(
            "settings that differ" if differences else "settings: no difference",
            heads,
            [(path, *values) for path, values in differences.items()],
        ),
        _table(_metrics_title(*records), heads, _metrics(first, second)),
    ]


_RUN_ROWS = ("started", "verdict", "winner", "served version", "time")
_DATA_ROWS = ("images of", "fingerprint", "split", "patients", "images")


def _of_run(record: RunRecord) -> Sequence[str]:
    return (
        record.started,
        verdict(record).word,
        record.winner or "–",
        record.pushed_version or "–",
        duration(sum(node.seconds for node in record.nodes)),
    )


def _of_data(record: RunRecord) -> Sequence[str]:
    data = record.data

    def by_split(counts: dict[str, int]) -> str:
        return ", ".join(f"{count:,} {split}" for split, count in counts.items())

    return (
        str(data.source),
        data.fingerprint[:16],
        data.split_sha256[:16],
        by_split(data.patients),
        by_split(data.images),
    )


def _metrics_title(first: RunRecord, second: RunRecord) -> str:
    if (
        first.data.split_sha256 == second.data.split_sha256
        and first.data.fingerprint == second.data.fingerprint
    ):
        return "metrics of the winners, on the same patients"
    return "metrics of the winners; not of the same patients, so differences say little about the models"


def _metrics(first: Inputs, second: Inputs) -> Iterable[tuple[str, str, str]]:
    for split in EVALUATED:
        left, right = (inputs.metrics(inputs.record.winner, split) for inputs in (first, second))
        for name in (name for name in METRICS if name in left or name in right):
            yield f"{split} {name}", estimate(left.get(name)), estimate(right.get(name))


def _table(title: str, heads: Sequence[str], rows: Iterable[tuple[str, str, str]]) -> Table:
    cells = list(rows)
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        show_header=bool(cells),  # the title says it all where there are none
    )
    for name in ("", *heads):
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table
