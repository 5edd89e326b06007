"""What is remembered of a run, finished or failed: the source of the report and of the run registry."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.settings import with_current_names
from knet.models.model_info import ModelInfo


@dataclass(frozen=True)
class Data:
    """The checked data of a run."""

    source: Path  # a folder, an archive or a manifest
    root: Path | None  # where a manifest's paths are
    fingerprint: str
    span: int  # its number among the data seen so far
    synthetic: bool
    patients: dict[str, int]  # by split
    images: dict[str, int]  # by split
    columns: tuple[str, ...]  # further features of each image
    excluded_duplicates: int  # second copies of slides filed under two subtypes
    split_sha256: str  # of the frozen split
    slices: tuple[str, ...] = ()  # those of the columns by which the models are judged
    split_notes: tuple[str, ...] = ()  # such as slices that are not in every split


@dataclass(frozen=True)
class NodeRecord:
    """How one node fared."""

    node: str
    state: str  # done, cached or failed
    seconds: float


@dataclass(frozen=True)
class TuningRecord:
    """What a search chose."""

    candidate: str  # that it was made on
    method: str
    objective: str  # whose mean over the folds decided
    values: dict[str, float]
    trial: int  # that had them, from 0; the first has the paper's values
    score: float
    paper_score: float | None  # None where that trial failed
    trials: int
    failed: int  # of them
    folder: Path  # of the table and the plots


@dataclass(frozen=True)
class CandidateRecord:
    """One candidate and how it did."""

    info: ModelInfo
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # by split; empty before evaluation
    # 95 % confidence intervals of the metrics
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """One run of the graph."""

    run_id: str
    name: str
    started: str  # ISO 8601, UTC
    data: Data
    config: dict[str, Any]  # the whole tree
    nodes: tuple[NodeRecord, ...]
    candidates: dict[str, CandidateRecord]
    metric: str  # that chose the winner
    tuning: dict[str, TuningRecord] = field(default_factory=dict)  # by node
    ingest: dict[str, Any] | None = None  # what became of every file, as ExampleGen reports it
    examples: Path | None = None  # the ingested examples
    winner: str | None = None
    choice: str | None = None  # why it was chosen
    refusals: tuple[str, ...] = ()  # why the gate held the winner back
    gate_notes: tuple[str, ...] = ()  # what else the gate found
    pushed_version: str | None = None
    pushed_folder: str | None = None
    error: str | None = None  # why the run failed
    user_error: bool = False  # whether the user can fix it

    def to_json(self) -> str:
        """Readable JSON; an undefined metric is null."""
        return json.dumps(_plain(asdict(self)), indent=2)


def read_record(file: Path) -> RunRecord:
    """Read a record back; null metrics and intervals become NaN, renamed settings get their current names.

    Raises:
        UserError: the file is missing, or no record of this version.
    """
    from pydantic import TypeAdapter, ValidationError  # which other users of a record do without

    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        for candidate in tree["candidates"].values():
            for figures in ("metrics", "intervals"):
                candidate[figures] = _undefined(candidate[figures])
        tree["config"] = with_current_names(tree["config"])
        _rename_counts(tree)
        return TypeAdapter(RunRecord).validate_python(tree)
    except OSError as error:
        raise UserError(f"cannot read the record of a run, {file}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise UserError(f"{file} is no record of a run by this version ({reason})") from None


# Current field by former field, in `data` and `ingest`.
_RENAMED = {"left_out": "excluded_duplicates", "passed_over": "ignored_files"}


def _rename_counts(tree: dict[str, Any]) -> None:
    """Give renamed fields of `data` and `ingest` their current names."""
    for section in (tree["data"], tree.get("ingest") or {}):
        for old, new in _RENAMED.items():
            if old in section:
                section[new] = section.pop(old)


def _undefined(value: Any) -> Any:
    """Turns null into NaN."""
    if isinstance(value, dict):
        return {key: _undefined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_undefined(item) for item in value]
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    """Replaces what JSON has no word for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


@dataclass(frozen=True)
class OutputArtifact:
    """Where an artifact lies, and the properties its executor gave it."""

    id: int | str  # in the runner's own metadata
    uri: Path  # to read it from
    properties: dict[str, Any]
    remote: str | None = None  # its place in an object store, where the path is that of a copy


@dataclass(frozen=True)
class Execution:
    """How an execution ended and what it put out, by output name."""

    id: int | str
    cached: bool
    outputs: dict[str, OutputArtifact]
