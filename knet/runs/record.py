"""The record of a run, finished or not: source of the report and entry of the run registry."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.files import read_json
from knet.base.settings import with_current_names
from knet.models.model_info import ModelInfo

# States of a run; `interrupted` is one of a node too.
FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"


def new_run_id(started: datetime) -> str:
    """Return the id of a run that starts at a time in UTC, which must be unique to the microsecond."""
    return started.strftime("%Y%m%d-%H%M%S-%f")


@dataclass(frozen=True)
class Data:
    """The data of a run, after the checks of preflight."""

    source: Path  # folder, archive or manifest
    root: Path | None  # folder of a manifest's paths
    fingerprint: str
    span: int  # number among the data sets seen so far, from 1
    synthetic: bool
    patients: dict[str, int]  # by split
    images: dict[str, int]  # by split
    columns: tuple[str, ...]  # further features of each image
    excluded_duplicates: int  # second copies of slides filed under two subtypes
    split_sha256: str  # of the frozen split
    slices: tuple[str, ...] = ()  # columns that the evaluation slices by
    split_notes: tuple[str, ...] = ()  # such as slices missing in a split
    test_patients: dict[str, int] = field(default_factory=dict)  # by class


@dataclass(frozen=True)
class NodeRecord:
    """State and duration of a node."""

    node: str
    state: str  # done, cached, failed, skipped or interrupted
    seconds: float


@dataclass(frozen=True)
class TuningRecord:
    """Result of a search."""

    candidate: str  # that was searched on
    method: str
    objective: str  # metric; its mean over the folds is optimized
    values: dict[str, float]
    trial: int  # number of the best trial, from 0, which has the paper's values
    score: float
    paper_score: float | None  # None if that trial failed
    trials: int
    failed: int  # number of failed trials
    folder: Path  # with the table and the plots


@dataclass(frozen=True)
class CandidateRecord:
    """A trained candidate with its metrics."""

    info: ModelInfo
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # by split; empty before evaluation
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # 95 %, by split
    model_sha256: str = ""  # of the files of the SavedModel; empty in records of earlier versions


@dataclass(frozen=True)
class RunRecord:
    """A run of the pipeline."""

    run_id: str
    name: str
    started: str  # ISO 8601, UTC
    data: Data
    config: dict[str, Any]  # the whole configuration
    nodes: tuple[NodeRecord, ...]
    candidates: dict[str, CandidateRecord]
    metric: str  # that the winner was selected by
    tuning: dict[str, TuningRecord] = field(default_factory=dict)  # by node
    ingest: dict[str, Any] | None = None  # ingest report of ExampleGen
    examples: Path | None = None  # artifact of the ingested examples
    failures: dict[str, str] = field(default_factory=dict)  # reasons by candidate that the run went without
    winner: str | None = None
    choice: str | None = None  # reason of the selection
    refusals: tuple[str, ...] = ()  # reasons why the winner was not pushed
    gate_notes: tuple[str, ...] = ()  # other findings of the gate
    pushed_version: str | None = None
    pushed_folder: str | None = None
    error: str | None = None  # reason of the failure
    user_error: bool = False  # whether the user can fix the error
    state: str = FINISHED  # or FAILED, INTERRUPTED, RUNNING
    note: str = ""  # remark of the user
    tags: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the record as JSON; undefined metrics are null."""
        return to_json(asdict(self))


def read_record(file: Path) -> RunRecord:
    """Read a record; null metrics and intervals become NaN, renamed settings get their current names.

    Raises:
        UserError: the file is missing, damaged, or of a version that cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the record of a run, {file}: {error.strerror}") from None
    try:
        return parse_record(json.loads(content), file)
    except ValueError as error:
        raise _unreadable(file, error) from None


def parse_record(tree: Any, file: Path) -> RunRecord:
    """Return the record of a parsed file, which is changed.

    Raises:
        UserError: the record is damaged, or of a version that cannot be read; the message names the file.
    """
    from pydantic import TypeAdapter, ValidationError  # not needed to write a record

    try:
        for candidate in tree["candidates"].values():
            for figures in ("metrics", "intervals"):
                candidate[figures] = _null_to_nan(candidate[figures])
        tree["config"] = with_current_names(tree["config"])
        _rename_fields(tree)
        tree.setdefault("state", FAILED if tree.get("error") else FINISHED)
        return TypeAdapter(RunRecord).validate_python(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise _unreadable(file, reason) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, reason: object) -> UserError:
    return UserError(f"{file} is no record of a run by this version ({reason}); restore it, or delete it")


# Current field by former field, in `data` and `ingest`.
_RENAMED = {"left_out": "excluded_duplicates", "passed_over": "ignored_files"}


def _rename_fields(tree: dict[str, Any]) -> None:
    """Give renamed fields of `data` and `ingest` their current names, in place."""
    for section in (tree["data"], tree.get("ingest") or {}):
        for old, new in _RENAMED.items():
            if old in section:
                section[new] = section.pop(old)


def _null_to_nan(value: Any) -> Any:
    """Replace null by NaN."""
    if isinstance(value, dict):
        return {key: _null_to_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_null_to_nan(item) for item in value]
    return math.nan if value is None else value


def to_json(tree: Any) -> str:
    """Return a tree of JSON values, paths and undefined numbers as JSON: NaN is null, a path is text."""
    return json.dumps(_json_value(tree), indent=2)


def _json_value(value: Any) -> Any:
    """Replace values that JSON cannot hold: NaN by null, paths by text."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


@dataclass(frozen=True)
class OutputArtifact:
    """An output artifact of an execution."""

    id: int | str  # in the metadata store of the runner
    uri: Path  # local path
    properties: dict[str, Any]  # custom properties
    remote: str | None = None  # URI in an object store, if the path is that of a copy

    def read_json(self, name: str = "") -> Any:
        """Return the content of a JSON file of the artifact, or of the artifact that is one.

        Raises:
            UserError: the file is damaged or missing.
        """
        file, remedy = self.uri / name, f"delete {self.remote or self.uri}, and the node runs again"
        tree = read_json(file, remedy=remedy)
        if tree is None:
            raise UserError(f"{file}: missing; {remedy}")
        return tree


@dataclass(frozen=True)
class Execution:
    """A successful execution of a node."""

    id: int | str  # in the metadata store of the runner
    cached: bool
    outputs: dict[str, OutputArtifact]  # by output name
