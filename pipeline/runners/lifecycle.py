"""What a run begins with: settings, data, and what earlier runs left for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from knet.base import run_files
from knet.base.digests import text_digest
from knet.evaluation.results import whole
from knet.models.model_info import read_model_info
from knet.runs.record import CandidateRecord, Data, Execution, NodeRecord, RunRecord, TuningRecord
from knet.runs.registry import RunRegistry, StoredPredictions, StoredStatistics, StoredTrials
from knet.serving.model_store import push_version, withdrawn_as
from knet.serving.models_config import newest_version
from pipeline.config.config import Config


@dataclass(frozen=True)
class PriorState:
    """What the graph is built with; nothing where it is not asked for."""

    statistics: StoredStatistics | None = None  # to look for drift from
    trials: dict[str, StoredTrials] = field(default_factory=dict)  # by backbone, for searches to begin with


@dataclass(frozen=True)
class RunContext:
    """All that the record of a run needs beside what the nodes give."""

    run_id: str
    started: str  # ISO 8601, UTC
    config: Config  # with the columns to slice by
    data: Data
    schema: Path  # that the data are held to
    graph: str  # digest of all that decides which model wins
    remembered: PriorState
    baseline: StoredPredictions | None  # of the model in production, to compare the winner with

    def to_json(self) -> str:
        """Text that `read_beginning` reads."""
        from pydantic import TypeAdapter

        return TypeAdapter(RunContext).dump_json(self, indent=2).decode()


def load_run_context(text: str | bytes) -> RunContext:
    """Reads what `to_json` made."""
    from pydantic import TypeAdapter

    return TypeAdapter(RunContext).validate_json(text)


def load_prior_state(registry: RunRegistry, config: Config, data: Data) -> PriorState:
    """What earlier runs left, as far as the configuration asks for it."""
    kept: dict[str, StoredTrials | None] = {}
    if config.tuning and config.tuning.warm_start:
        search = search_digest(config, data)
        kept = {n: registry.trials_before(backbone=n, search=search) for n in config.searched_backbones}
    return PriorState(
        statistics=registry.previous_statistics() if config.data_gate.drift else None,
        trials={name: trials for name, trials in kept.items() if trials},
    )


def start_run(
    registry: RunRegistry, config: Config, data: Data, *, remembered: PriorState, schema: Path, graph: str
) -> RunContext:
    """Gives a run its id, and finds what its winner is to be compared with."""
    started = datetime.now(timezone.utc)
    return RunContext(
        run_id=started.strftime("%Y%m%d-%H%M%S-%f"),
        started=started.isoformat(timespec="seconds"),
        config=config,
        data=data,
        schema=schema,
        graph=graph,
        remembered=remembered,
        baseline=None if config.gate.margin is None else registry.baseline(graph),
    )


def search_digest(config: Config, data: Data) -> str:
    """A digest of what a search depends on, but earlier searches: with another one it is another search."""
    sections = {"seed", "image", "candidates", "head", "training", "devices", "tuning"}
    return text_digest(config.model_dump_json(include=sections), data.fingerprint, data.split_sha256)


@dataclass(frozen=True)
class RunOutcome:
    """How the nodes of a run fared."""

    nodes: tuple[NodeRecord, ...] = ()
    executions: Mapping[str, Execution] = field(default_factory=dict)  # by node, those that succeeded
    error: str | None = None  # why the run failed
    user_error: bool = False  # whether the user can mend it


def finalize_run(
    beginning: RunContext,
    outcome: RunOutcome,
    *,
    registry: RunRegistry,
    served: Path,
    folder: Path,
    explanations: Path,
) -> RunRecord:
    """Keeps a run, failed or refused ones too, and returns its record.

    Args:
        beginning: of the run.
        outcome: of its nodes.
        registry: where the record, predictions of a pushed winner, statistics and trials are kept.
        served: the folder that TF Serving watches.
        folder: for the files of the page, as `write_report` takes them.
        explanations: the folder of those of earlier winners.
    """
    from knet.tuning.trials import TABLE
    from pipeline.runners.outputs import copy_report_inputs, export_results, write_data_page

    config, executions = beginning.config, outcome.executions
    record = RunRecord(
        run_id=beginning.run_id,
        name=config.name,
        started=beginning.started,
        data=beginning.data,
        config=config.model_dump(mode="json"),
        nodes=outcome.nodes,
        metric=config.selection.metric,
        error=outcome.error,
        user_error=outcome.user_error,
        **build_run_record(config, served, executions),
    )
    files = export_results(folder, executions, candidates=config.candidates)
    predictions = files.get(record.winner) if record.winner else None
    registry.record(record, graph=beginning.graph, predictions=predictions, baseline=beginning.baseline)
    copy_report_inputs(folder, executions, candidates=record.candidates, winner=record.winner)
    search = search_digest(config, beginning.data)
    for tuning in record.tuning.values():
        registry.keep_trials(tuning.folder / TABLE, backbone=tuning.candidate, search=search)
    if "ExampleValidator" in executions:
        write_data_page(
            folder / run_files.DATA_PAGE,
            executions,
            record=record,
            classes=config.data.classes,
            previous=beginning.remembered.statistics,
        )
    if record.winner and record.examples and config.report.explanations:
        from pipeline.runners.outputs import explain_winner  # with TensorFlow, which takes seconds

        explain_winner(
            executions[f"Trainer-{record.winner}"].outputs["model"].uri,
            record.examples / "Split-test",
            folder / run_files.EXPLANATIONS,
            count=config.report.explanations,
            kept=explanations,
        )
    if record.error is None:
        statistics = executions["StatisticsGen"].outputs["statistics"].uri
        registry.keep_statistics(statistics, run_id=record.run_id, schema=beginning.schema)
    return record


_WITHDRAWN = (
    "it was rolled back (knet models list shows its version, knet models rollback --to brings it back)"
)


def build_run_record(config: Config, served: Path, executions: Mapping[str, Execution]) -> dict[str, Any]:
    """Fields of a RunRecord, as far as the run came.

    Args:
        config: of the run.
        served: the folder that TF Serving watches; a version that is gone from it is pushed again.
        executions: by node.
    """
    decision = _read_json(executions, "ModelSelector", "decision") or {"winner": None, "candidates": {}}
    results = _read_json(executions, "ModelSelector", "results") or {"candidates": {}}
    gate = _read_json(executions, "ModelGate", "blessing", "gate.json") or {"reasons": [], "notes": []}
    winner = decision["winner"]
    trainers = {name: executions.get(f"Trainer-{name}") for name in config.candidates}
    candidates = {
        name: CandidateRecord(
            info=read_model_info(trainer.outputs["model"].uri), **_figures(results["candidates"].get(name))
        )
        for name, trainer in trainers.items()
        if trainer is not None
    }
    version = _pushed_version(served, executions)
    return {
        "ingest": _read_json(executions, "BreakHisExampleGen", "ingest"),
        "examples": _uri(executions, "BreakHisExampleGen", "examples"),
        "candidates": candidates,
        "tuning": _tuning(config, executions),
        "winner": winner,
        "choice": winner and decision["candidates"][winner]["why"],
        "refusals": tuple(gate["reasons"])
        or ((_WITHDRAWN,) if "Pusher" in executions and not version else ()),
        "gate_notes": tuple(gate["notes"]),
        "pushed_version": version,
        "pushed_folder": str(served / version) if version else None,
    }


def _figures(results: Any) -> dict[str, Any]:
    """A candidate's metrics and intervals by split; nothing before ModelSelector judged them."""
    if results is None:
        return {}
    splits = {split: whole(results, split) for split in results["splits"]}
    return {
        "metrics": {
            split: {name: estimate.value for name, estimate in found.items()}
            for split, found in splits.items()
        },
        "intervals": {
            split: {name: (estimate.low, estimate.high) for name, estimate in found.items()}
            for split, found in splits.items()
        },
    }


def _tuning(config: Config, executions: Mapping[str, Execution]) -> dict[str, TuningRecord]:
    from knet.tuning.results import SUMMARY

    nodes = [config.tuner_id(name) for name in config.searched_backbones]
    folders = {node: executions[node].outputs["trials"].uri for node in nodes if node in executions}
    return {
        node: TuningRecord(**_read_json(executions, node, "trials", SUMMARY), folder=folder)
        for node, folder in folders.items()
    }


def _pushed_version(served: Path, executions: Mapping[str, Execution]) -> str | None:
    """The version under which the winner is served, or None where it was refused or the run failed before."""
    if "Pusher" not in executions:
        return None
    pushed = executions["Pusher"].outputs["pushed_model"]
    version = pushed.properties.get("pushed_version")
    return version and republish_if_missing(served, version=version, archive=pushed.uri)


def _uri(executions: Mapping[str, Execution], node: str, output: str) -> Path | None:
    return executions[node].outputs[output].uri if node in executions else None


def _read_json(executions: Mapping[str, Execution], node: str, output: str, name: str = "") -> Any:
    if node not in executions:
        return None
    return json.loads((executions[node].outputs[output].uri / name).read_text(encoding="utf-8"))


def republish_if_missing(served: Path, *, version: str, archive: Path) -> str | None:
    """Pushes an archived model again, unless its version is still the newest one served.

    It is not when another model was pushed since, or when the served folder was removed. A model that was
    rolled back is not pushed again.

    Args:
        served: the folder that TF Serving watches.
        version: under which the model was pushed first.
        archive: the PushedModel artifact, which holds a copy of it.

    Returns:
        The version under which the model is served now, or None where it was rolled back.
    """
    newest = newest_version(served)
    if newest is not None and newest.name == version:
        return version
    if withdrawn_as(archive, served):
        return None
    return push_version(archive, served)
