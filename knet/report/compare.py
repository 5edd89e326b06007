"""Comparison of recorded runs: outcome, data, settings that differ, and metrics with paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich import box
from rich.table import Table

from knet.base import schema_names
from knet.base.text import format_duration, format_estimate
from knet.evaluation import binary_metrics, multiclass_metrics
from knet.evaluation.bootstrap import RESAMPLES, estimate_from_draws, resample_patients
from knet.evaluation.multiclass_metrics import GROUP_METRICS
from knet.evaluation.predictions import prediction_sample
from knet.evaluation.results import estimate_json
from knet.evaluation.sample import Sample
from knet.report.inputs import Inputs, verdict
from knet.runs.record import RunRecord


def compare_runs(runs: Sequence[Inputs]) -> list[Table]:
    """Return tables of two runs or more: outcome, data, settings that differ, and metrics of the winners.

    Runs with the same patients have the paired differences of their winners from that of the first run.
    """
    records = [inputs.record for inputs in runs]
    heads = [record.run_id for record in records]
    settings = config_differences([record.config for record in records])
    tables = [
        _table("runs", heads, zip(_RUN_ROWS, *map(_run_cells, records), strict=True)),
        _table("data", heads, zip(_DATA_ROWS, *map(_data_cells, records), strict=True)),
        _table(
            "settings that differ" if settings else "settings: no difference",
            heads,
            [(path, *values) for path, values in settings.items()],
        ),
        _table(_metrics_title(records), heads, _metrics(runs)),
    ]
    if differences := list(_differences(runs)):
        title = f"difference from {heads[0]} on test patients: paired, 95 % interval over patients"
        tables.append(_table(title, heads[1:], differences))
    return tables


_RUN_ROWS = ("started", "verdict", "winner", "served version", "time", "note")
_DATA_ROWS = ("images of", "fingerprint", "split", "patients", "images")


def _run_cells(record: RunRecord) -> Sequence[str]:
    return (
        record.started,
        verdict(record).word,
        record.winner or "–",
        record.pushed_version or "–",
        format_duration(sum(node.seconds for node in record.nodes)),
        record.note or "–",
    )


def _data_cells(record: RunRecord) -> Sequence[str]:
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


def _have_same_patients(records: Sequence[RunRecord]) -> bool:
    return len({(record.data.fingerprint, record.data.split_sha256) for record in records}) == 1


def _metrics_title(records: Sequence[RunRecord]) -> str:
    if _have_same_patients(records):
        return "metrics of the winners, on the same patients"
    return "metrics of the winners, on different patients: not comparable"


# Some names are of any number of classes; a run has those of its own number.
_METRICS: Final = tuple(dict.fromkeys((*binary_metrics.METRICS, *multiclass_metrics.METRICS, *GROUP_METRICS)))


def _metrics(runs: Sequence[Inputs]) -> Iterator[Sequence[str]]:
    for split in schema_names.EVALUATED_SPLITS:
        found = [inputs.metrics(inputs.record.winner, split) for inputs in runs]
        for name in (name for name in _METRICS if any(name in one for one in found)):
            yield f"{split} {name}", *(format_estimate(one.get(name)) for one in found)


def _differences(runs: Sequence[Inputs]) -> Iterator[Sequence[str]]:
    """Yield a row for each metric on test patients; none where runs have other patients or classes."""
    first = runs[0]
    samples = [_test_sample(inputs) for inputs in runs]
    if not _have_same_patients([inputs.record for inputs in runs]) or any(
        sample is None or inputs.classes != first.classes or inputs.group != first.group
        for inputs, sample in zip(runs, samples, strict=True)
    ):
        return
    of_first, *of_others = (sample for sample in samples if sample)
    if any(not np.array_equal(sample.images, of_first.images) for sample in of_others):
        return
    weights = resample_patients(of_first.strata, resamples=RESAMPLES, seed=first.record.config["seed"])
    values = [sample.metrics() for sample in (of_first, *of_others)]
    drawn = [sample.weighted_metrics(weights) for sample in (of_first, *of_others)]
    for name in values[0]:
        estimates = (
            estimate_from_draws(value[name] - values[0][name], draws[name] - drawn[0][name])
            for value, draws in zip(values[1:], drawn[1:], strict=True)
        )
        yield name, *(format_estimate(estimate_json(estimate), sign=True) for estimate in estimates)


def _test_sample(inputs: Inputs) -> Sample | None:
    """Return the winner's predictions of test images; None if the run has none."""
    frame = inputs.predictions.get(inputs.record.winner or "")
    if frame is None:
        return None
    tested = frame[frame[schema_names.SPLIT] == schema_names.TEST]
    return prediction_sample(tested, classes=inputs.classes, positive=inputs.group)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    cells = list(rows)
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        show_header=bool(cells),  # without rows the title is enough
    )
    for name in ("", *heads):
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


ABSENT: Final = "–"


def config_differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the fields that differ, by path, with the value of each; `ABSENT` where one lacks the field."""
    flat = [_flat(config) for config in configs]
    rows = {path: tuple(one.get(path, ABSENT) for one in flat) for path in dict.fromkeys(_paths(flat))}
    return {path: values for path, values in rows.items() if len(set(values)) > 1}


def _paths(flat: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for one in flat:
        yield from one


def _flat(tree: Mapping[str, Any], parent: str = "") -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            fields |= _flat(value, f"{parent}{name}.")
        else:
            fields[parent + name] = str(value)
    return fields
