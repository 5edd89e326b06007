"""Finds a run by what a user calls it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.run_files import RECORD
from knet.base.text import format_duration, format_estimate, format_metric
from knet.evaluation.patient_metrics import METRICS
from knet.report.inputs import EVALUATED, Inputs, verdict
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace

LAST = "last"
_SHOWN = 10


def find_run(name: str, workspace: Workspace) -> tuple[RunRecord, Path]:
    """The record of a run and its folder.

    Args:
        name: a run id, `last`, or the folder of a run, wherever it lies.
        workspace: whose registry knows the id.

    Raises:
        UserError: there is no such run; the text names those that there are.
    """
    folder = Path(name)
    if (folder / RECORD).is_file():
        return read_record(folder / RECORD), folder
    known = RunRegistry(workspace.registry).runs()
    if not known:
        raise UserError(f"there is no run in {workspace.root} yet, nor is {name} the folder of one")
    run_id = list(known)[-1] if name == LAST else name
    if run_id not in known:
        raise UserError(
            f"no run {name} in {workspace.root}, nor is it the folder of one; "
            f"there are {_listed(list(known))}"
        )
    return read_record(known[run_id]), workspace.reports / run_id


def _listed(names: list[str]) -> str:
    """The newest, so that many runs do not fill the screen."""
    earlier = f" and {len(names) - _SHOWN} earlier ones" if len(names) > _SHOWN else ""
    return ", ".join(reversed(names[-_SHOWN:])) + earlier


def find_version(version: str, registry: RunRegistry, *, where: Path) -> RunRecord:
    """The record of the first run that pushed a version; later ones were answered from the cache.

    Args:
        version: as its folder is named.
        registry: of the runs.
        where: they are, for the message.

    Raises:
        UserError: no run pushed it, and the text names the versions that were; or a record is broken.
    """
    pushed: dict[str, Path] = {}
    for file in registry.runs().values():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["pushed_version"]
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{file} is no record of a run") from None
        if found:
            pushed.setdefault(found, file)
    if version not in pushed:
        known = f"pushed were {', '.join(reversed(pushed))}" if pushed else "none was pushed yet"
        raise UserError(f"no run in {where} pushed version {version}; {known}")
    return read_record(pushed[version])


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
        format_duration(sum(node.seconds for node in record.nodes)),
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
            yield f"{split} {name}", format_estimate(left.get(name)), format_estimate(right.get(name))


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


ABSENT = "–"


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The fields that are not equal, by path, with both values; a field that one lacks is `ABSENT` there."""
    left, right = _flat(first), _flat(second)
    return {
        path: (left.get(path, ABSENT), right.get(path, ABSENT))
        for path in {**left, **right}
        if left.get(path, ABSENT) != right.get(path, ABSENT)
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            fields |= _flat(value, f"{above}{name}.")
        else:
            fields[above + name] = str(value)
    return fields


@dataclass(frozen=True)
class Step:
    """Something on the way, and what identifies it."""

    what: str
    value: str
    note: str = ""


def lineage_steps(record: RunRecord) -> list[Step]:
    """From the data of a run to the version it pushed, as far as it came."""
    data = record.data
    steps = [
        Step("data", data.fingerprint, f"{data.source}, span {data.span}"),
        Step("split", data.split_sha256, f"{sum(data.patients.values())} patients"),
        Step("configuration", text_digest(repr(record.config)), record.name),
        Step("run", record.run_id, record.started),
    ]
    winner = record.candidates.get(record.winner) if record.winner else None
    if winner:
        info = winner.info
        steps += [
            Step("candidate", info.candidate, f"from {info.weights} weights, seed {info.seed}"),
            Step("train and validation examples", info.examples_sha256, f"{info.train_images} for training"),
            Step("settings", info.candidate_sha256),
            Step("code", info.code_sha256, "with the versions of its libraries"),
            Step("commit", info.commit or "unknown", "" if info.commit else "the code was no checkout"),
        ]
    pushed = record.pushed_version
    steps.append(Step("served version", pushed or "none", record.pushed_folder or ""))
    return steps


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
        format_metric(winner.metrics.get("test", {}).get(record.metric) if winner else None),
        format_duration(sum(node.seconds for node in record.nodes)),
    )
