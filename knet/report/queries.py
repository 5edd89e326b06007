"""Queries on recorded runs: find, list, summarize, and trace a version to its data."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.table import Table

from knet.base import schema_names
from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.files import parse_json
from knet.base.run_files import RECORD
from knet.base.text import format_duration, format_metric
from knet.report.inputs import verdict
from knet.runs.active_run import RunState
from knet.runs.record import INTERRUPTED, RUNNING, CandidateRecord, RunRecord, TuningRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace

LAST: Final = "last"  # name of the newest run
_LISTED: Final = 10  # runs named in an error message


def find_run(name: str, workspace: Workspace) -> tuple[RunRecord, Path]:
    """Return the record of a run, and its folder.

    Args:
        name: a run id, `last`, or the path of a run's folder.
        workspace: workspace whose registry is searched for the id.

    Raises:
        UserError: there is no such run; the text names the newest ones.
    """
    folder = Path(name)
    if (folder / RECORD).is_file():
        return read_record(folder / RECORD), folder
    recorded = RunRegistry(workspace.registry).runs()
    if not recorded:
        raise UserError(f"there is no run in {workspace.root} yet, and {name} is not the folder of a run")
    run_id = list(recorded)[-1] if name == LAST else name
    if run_id not in recorded:
        raise UserError(
            f"no run {name} in {workspace.root}, and {name} is not the folder of a run; "
            f"there are {_newest(list(recorded))}"
        )
    return read_record(recorded[run_id]), workspace.reports / run_id


def _newest(names: list[str]) -> str:
    earlier = f" and {len(names) - _LISTED} earlier ones" if len(names) > _LISTED else ""
    return ", ".join(reversed(names[-_LISTED:])) + earlier


def find_version(version: str, registry: RunRegistry, *, where: Path) -> RunRecord:
    """Return the record of the first run that pushed a version; later runs got it from the cache.

    Args:
        version: name of the version's folder.
        registry: registry of the runs.
        where: place of the registry, for the message.

    Raises:
        UserError: no run pushed the version, and the text names those that were pushed; or a record is
            damaged.
    """
    pushed: dict[str, Path] = {}
    for file in registry.runs().values():
        remedy = "restore it, or delete it"
        try:
            found = parse_json(file.read_bytes(), file, remedy=remedy)["pushed_version"]
        except (TypeError, KeyError):
            raise UserError(f"{file} is no record of a run; {remedy}") from None
        if found:
            pushed.setdefault(found, file)
    if version not in pushed:
        versions = f"pushed were {', '.join(reversed(pushed))}" if pushed else "none was pushed yet"
        raise UserError(f"no run in {where} pushed version {version}; {versions}")
    return read_record(pushed[version])


@dataclass(frozen=True)
class Step:
    """A step of the lineage."""

    name: str
    value: str  # identifier, such as a digest
    note: str = ""


def lineage_steps(record: RunRecord) -> list[Step]:
    """Return the lineage from the data of a run to the version it pushed; a failed run lacks later steps."""
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
            Step("candidate", info.title, f"{_initial_weights(info.weights)}, seed {info.seed}"),
            Step("train and validation examples", info.examples_sha256, f"{info.train_images} for training"),
            Step("settings", info.candidate_sha256),
            Step("code", info.code_sha256, "with the versions of its libraries"),
            Step("commit", info.commit or "unknown", "" if info.commit else "not a git checkout"),
        ]
    pushed = record.pushed_version
    steps.append(Step("served version", pushed or "none", record.pushed_folder or ""))
    return steps


def _initial_weights(name: str) -> str:
    return "random initial weights" if name == "none" else f"initial weights {name}"


_RATE = "patient_recognition_rate"
_AREAS = ("roc_auc", "macro_roc_auc")  # of two classes, of more
# Split, metrics and title of each column; the patient recognition rate has its interval too.
_SUMMARY_METRICS = (
    (schema_names.VALIDATION, ("accuracy",), "val accuracy"),
    (schema_names.VALIDATION, ("balanced_accuracy",), "val balanced"),
    (schema_names.VALIDATION, _AREAS, "val AUC"),
    (schema_names.TEST, (_RATE,), "test patients"),
    (schema_names.TEST, ("balanced_accuracy",), "test balanced"),
    (schema_names.TEST, _AREAS, "test AUC"),
)
SUMMARY_HEADER = (
    "candidate",
    "weights",
    "images",
    "parameters",
    *(title for _, _, title in _SUMMARY_METRICS),
    "seconds",
    "",
)


def summary_rows(record: RunRecord) -> list[Sequence[str]]:
    """Return a row for each candidate under `SUMMARY_HEADER`, in the order of the record."""
    return [_summary_row(name, candidate, record) for name, candidate in record.candidates.items()]


def _summary_row(name: str, candidate: CandidateRecord, record: RunRecord) -> Sequence[str]:
    info = candidate.info
    metrics = [_summary_metric(candidate, split, names) for split, names, _ in _SUMMARY_METRICS]
    return (
        info.title,
        info.weights,
        f"{info.train_images}",
        f"{info.parameters:,}",
        *metrics,
        f"{info.seconds:.0f}",
        "winner" if name == record.winner else "",
    )


def _summary_metric(candidate: CandidateRecord, split: str, names: Sequence[str]) -> str:
    """Return the first of some metrics that the candidate has."""
    found = candidate.metrics.get(split, {})
    metric = next((name for name in names if name in found), None)
    if metric is None:
        return ""
    value = found[metric]
    if math.isnan(value):
        return "undefined"
    if metric != _RATE:
        return f"{value:.3f}"
    low, high = candidate.intervals[split][metric]
    return f"{value:.2f} ({low:.2f}-{high:.2f})"


def tuning_line(tuning: TuningRecord) -> str:
    """Return the result of a search in one line: chosen values, and their score beside the paper's."""
    values = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in tuning.values.items())
    paper = "failed" if tuning.paper_score is None else f"{tuning.paper_score:.4g}"
    first = "the paper's" if "momentum" in tuning.values else "the default"  # the paper has no AdamW
    source = f"{first} values" if tuning.trial == 0 else f"trial {tuning.trial}"
    failed = f", {tuning.failed} of them failed" if tuning.failed else ""
    return (
        f"tuned on {tuning.candidate}: {values} ({source}, {tuning.trials} trials{failed}; "
        f"{tuning.objective} {tuning.score:.4g}, {first} values {paper})"
    )


_RUNS_HEADER = ("run", "started (UTC)", "verdict", "winner", "chosen by", "on test", "time", "note")


def runs_table(files: Sequence[Path], *, unrecorded: RunState | None = None, running: bool = False) -> Table:
    """Return a table with a row per run, newest first.

    Args:
        files: record files, oldest first; the row of a record that cannot be read has no values.
        unrecorded: the run in progress, or one that was killed.
        running: whether it is in progress.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in _RUNS_HEADER:
        # The run id, which commands accept, stays whole on a narrow terminal.
        table.add_column(
            name, justify="right" if name in ("on test", "time") else "left", no_wrap=name == "run"
        )
    if unrecorded and unrecorded.run_id not in {file.stem for file in files}:
        state = f"{RUNNING if running else INTERRUPTED} ({unrecorded.phase})"
        table.add_row(unrecorded.run_id, _minute(unrecorded.started), state)
    for file in reversed(files):
        table.add_row(*_runs_row(file))
    return table


def _minute(started: str) -> str:
    return started[:16].replace("T", " ")


def _runs_row(file: Path) -> Sequence[str]:
    try:
        record = read_record(file)
    except UserError:
        return (file.stem, "", "recorded by another version")
    winner = record.candidates.get(record.winner) if record.winner else None
    return (
        record.run_id,
        _minute(record.started),
        verdict(record).word,
        record.winner or "–",
        record.metric,
        format_metric(winner.metrics.get(schema_names.TEST, {}).get(record.metric) if winner else None),
        format_duration(sum(node.seconds for node in record.nodes)),
        " ".join([*(f"#{tag}" for tag in record.tags), record.note]).strip(),
    )


def with_tag(files: Sequence[Path], tag: str) -> list[Path]:
    """Return the record files of the runs that have a tag; records that cannot be read have none."""
    found = []
    for file in files:
        with contextlib.suppress(UserError):
            if tag in read_record(file).tags:
                found.append(file)
    return found


def runs_json(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the runs for programs, newest first: what `runs_table` shows, with numbers and paths.

    Args:
        files: record files, oldest first; of a record that cannot be read there is `run` and `error`.
    """
    return [_run_json(file) for file in reversed(files)]


def _run_json(file: Path) -> dict[str, Any]:
    try:
        record = read_record(file)
    except UserError as error:
        return {"run": file.stem, "error": str(error)}
    winner = record.candidates.get(record.winner) if record.winner else None
    value = winner.metrics.get(schema_names.TEST, {}).get(record.metric) if winner else None
    return {
        "run": record.run_id,
        "started": record.started,
        "verdict": verdict(record).word,
        "reason": verdict(record).why,
        "winner": record.winner,
        "metric": record.metric,
        "on_test": None if value is None or math.isnan(value) else value,
        "version": record.pushed_version,
        "seconds": sum(node.seconds for node in record.nodes),
        "note": record.note,
        "tags": list(record.tags),
        "record": str(file),
    }
