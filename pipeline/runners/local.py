"""Runs the graph on this machine: TFX's BeamDagRunner, noted in MLMD."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

from ml_metadata.proto import metadata_store_pb2 as pb
from rich.console import Console
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.pipeline import Pipeline, RunOptions
from tfx.orchestration.portable import launcher

from pipeline.config import Config
from pipeline.dag import create_pipeline, searched_backbones, tuner_id
from pipeline.digest import file_digest, text_digest
from pipeline.errors import UserError
from pipeline.evaluation.results import whole
from pipeline.graph_digest import graph_digest
from pipeline.model_info import read_model_info
from pipeline.registry import KeptPredictions, KeptStatistics, KeptTrials, RunRegistry
from pipeline.report import run_files
from pipeline.run_record import CandidateRecord, Data, NodeRecord, RunRecord, TuningRecord
from pipeline.runners.beam_args import beam_args, use_fn_api_runner_by_default
from pipeline.runners.collect import collect
from pipeline.runners.data_page import write_data_page
from pipeline.runners.explain_winner import explain_winner
from pipeline.runners.lineage import Execution, read_execution
from pipeline.runners.open_metadata import open_metadata, without_password
from pipeline.runners.restore_pushed import restore_pushed
from pipeline.runners.screen import NodeDisplay
from pipeline.runners.write_results import write_results
from pipeline.schema.schema_file import schema_file
from pipeline.tuning.trials_table import TABLE
from pipeline.tuning.write_trials import SUMMARY
from pipeline.workspace import Workspace

_WITHDRAWN = (
    "it was rolled back (knet models list shows its version, knet models rollback --to brings it back)"
)


def run_pipeline(config: Config, data: Data, *, console: Console) -> RunRecord:
    """Runs every node, keeps a record of the run in the registry, and returns it.

    A failed run is recorded too; its `error` says why.
    """
    config = config.with_slices(data.slices)
    workspace = Workspace(config.output.resolve())
    registry = RunRegistry(workspace.registry)
    previous = registry.previous_statistics() if config.data_gate.drift else None
    workspace.root.mkdir(parents=True, exist_ok=True)
    metadata_store = open_metadata(config)
    schema = schema_file(config, data, workspace)
    started = datetime.now(timezone.utc)
    trials = _trials_before(config, data, registry)
    remembered: dict[str, Any] = {
        "metadata_store": metadata_store,
        "schema": schema,
        "previous": previous,
        "trials": trials,
    }
    pipeline = _pipeline(config, data, workspace, **remembered)
    graph = graph_digest(pipeline)
    baseline = None if config.gate.margin is None else registry.baseline(graph)
    if baseline:
        pipeline = _pipeline(config, data, workspace, **remembered, baseline=baseline)
    monitor = _run(pipeline, console, metadata_store)
    record = RunRecord(
        run_id=started.strftime("%Y%m%d-%H%M%S-%f"),
        name=config.name,
        started=started.isoformat(timespec="seconds"),
        data=data,
        config=config.model_dump(mode="json"),
        nodes=tuple(monitor.nodes),
        metric=config.selection.metric,
        **_failure(monitor),
        **_results(config, workspace.served, monitor.executions),
    )
    folder = workspace.reports / record.run_id
    files = write_results(folder, monitor.executions, candidates=config.candidates)
    predictions = files.get(record.winner) if record.winner else None
    registry.record(record, graph=graph, predictions=predictions, baseline=baseline)
    collect(folder, monitor.executions, candidates=record.candidates, winner=record.winner)
    for tuning in record.tuning.values():
        registry.keep_trials(tuning.folder / TABLE, backbone=tuning.candidate, search=_search(config, data))
    if "ExampleValidator" in monitor.executions:
        write_data_page(
            folder / run_files.DATA_PAGE,
            monitor.executions,
            record=record,
            classes=config.data.classes,
            previous=previous,
        )
    if record.winner and record.examples and config.report.explanations:
        with console.status("explaining the winner's answers to test images"):
            explain_winner(
                monitor.executions[f"Trainer-{record.winner}"].outputs["model"].uri,
                record.examples / "Split-test",
                folder / run_files.EXPLANATIONS,
                count=config.report.explanations,
                kept=workspace.explanations,
            )
    if record.error is None:
        registry.keep_statistics(
            monitor.executions["StatisticsGen"].outputs["statistics"].uri, run_id=record.run_id, schema=schema
        )
    return record


def run_down_to(
    last: Collection[str], config: Config, data: Data, *, schema: Path, console: Console
) -> dict[str, Execution]:
    """Runs the graph's nodes in their order up to the last of some, and returns how each ended.

    They are answered from the cache where a run was on the same data, and a later run finds them there.

    Args:
        last: names of nodes, such as `StatisticsGen`.
        config: the experiment.
        data: as `prepare_data` found them.
        schema: the file that they are held to.
        console: shows each node.

    Raises:
        UserError: a node failed in a way that the user can mend.
        RuntimeError: it failed in another way.
    """
    workspace = Workspace(config.output.resolve())
    workspace.root.mkdir(parents=True, exist_ok=True)
    config = config.with_slices(data.slices)
    metadata_store = open_metadata(config)
    pipeline = _pipeline(config, data, workspace, metadata_store=metadata_store, schema=schema, previous=None)
    monitor = _run(pipeline, console, metadata_store, last=last)
    failure = _failure(monitor)
    if failure:
        raise UserError(failure["error"]) if failure["user_error"] else RuntimeError(failure["error"])
    return monitor.executions


def _search(config: Config, data: Data) -> str:
    """A digest of what a search depends on, but earlier searches: with another one it is another search."""
    sections = {"seed", "image", "candidates", "head", "training", "devices", "tuning"}
    return text_digest(config.model_dump_json(include=sections), data.fingerprint, data.split_sha256)


def _trials_before(config: Config, data: Data, registry: RunRegistry) -> dict[str, KeptTrials]:
    """What the searches begin with, by backbone."""
    if config.tuning is None or not config.tuning.warm_start:
        return {}
    search = _search(config, data)
    kept = {name: registry.trials_before(backbone=name, search=search) for name in searched_backbones(config)}
    return {name: trials for name, trials in kept.items() if trials}


def _pipeline(
    config: Config,
    data: Data,
    workspace: Workspace,
    *,
    metadata_store: pb.ConnectionConfig,
    schema: Path,
    previous: KeptStatistics | None,
    baseline: KeptPredictions | None = None,
    trials: dict[str, KeptTrials] | None = None,
) -> Pipeline:
    return create_pipeline(
        config,
        data_source=str(data.source),
        data_root=str(data.root or ""),
        fingerprint=data.fingerprint,
        split_sha256=data.split_sha256,
        span=data.span,
        synthetic_data=data.synthetic,
        schema_file=str(schema),
        schema_digest=file_digest(schema),
        pipeline_root=str(workspace.artifacts),
        push_folder=str(workspace.served),
        checkpoints=str(workspace.checkpoints),
        cache_root=str(workspace.feature_maps),
        previous_statistics=previous,
        baseline=baseline,
        previous_trials=trials,
        beam_args=beam_args(config.beam),
        metadata_connection=without_password(metadata_store),  # TFX logs it
    )


class _Monitor:
    """Sees each node start and end."""

    def __init__(self, display: NodeDisplay) -> None:
        self.display = display
        self.nodes: list[NodeRecord] = []
        self.executions: dict[str, Execution] = {}
        self.failure: tuple[str, Exception] | None = None

    def started(self, node: str) -> None:
        self.display.started(node)

    def succeeded(self, node: str, execution: Execution) -> None:
        self.executions[node] = execution
        self._ended(node, "cached" if execution.cached else "done")

    def failed(self, node: str, error: Exception) -> None:
        self.failure = node, error
        self._ended(node, "failed")

    def _ended(self, node: str, state: str) -> None:
        self.nodes.append(NodeRecord(node, state, round(self.display.ended(node, state), 1)))


class _MonitoredNode(beam_dag_runner.PipelineNodeAsDoFn):
    """Hooks TFX's execution of a node, which is private there: here alone.

    Beam pickles and copies it, so the monitor hangs on the class. FnApiRunner runs it in this process.
    """

    monitor: ClassVar[_Monitor]
    metadata_store: ClassVar[pb.ConnectionConfig]  # what TFX hands on lacks the password

    def _run_node(self) -> None:
        monitor, metadata_store = type(self).monitor, type(self).metadata_store
        monitor.started(self._node_id)
        try:
            execution = launcher.Launcher(
                pipeline_node=self._pipeline_node,
                mlmd_connection=metadata.Metadata(metadata_store),
                pipeline_info=self._pipeline_info,
                pipeline_runtime_spec=self._pipeline_runtime_spec,
                executor_spec=self._executor_spec,
                custom_driver_spec=self._custom_driver_spec,
            ).launch()
        except Exception as error:
            monitor.failed(self._node_id, error)
            raise
        monitor.succeeded(self._node_id, read_execution(metadata_store, execution.execution_id))


class _MonitoredRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _MonitoredNode


def _run(
    pipeline: Pipeline, console: Console, metadata_store: pb.ConnectionConfig, *, last: Collection[str] = ()
) -> _Monitor:
    """Runs the graph, or its nodes up to the last of some; a node's failure is left with the monitor."""
    # Beam and absl both read the process's own arguments as theirs.
    sys.argv[1:] = []
    use_fn_api_runner_by_default()
    nodes = [node.id for node in pipeline.components]
    wanted = nodes[: max(map(nodes.index, last)) + 1] if last else nodes
    with NodeDisplay(console, wanted) as display:
        _MonitoredNode.monitor = monitor = _Monitor(display)
        _MonitoredNode.metadata_store = metadata_store
        try:
            _MonitoredRunner().run(pipeline, run_options=RunOptions(to_nodes=wanted) if last else None)
        except Exception:
            if monitor.failure is None:  # not a node's failure, but ours or TFX's
                raise
    return monitor


def _failure(monitor: _Monitor) -> dict[str, Any]:
    """The record's fields on what went wrong."""
    if monitor.failure is None:
        return {}
    node, error = monitor.failure
    message = _user_message(error)
    return {
        "error": f"{node}: {message or f'{type(error).__name__}: {error}'}",
        "user_error": message is not None,
    }


def _user_message(error: Exception) -> str | None:
    """The text of the UserError that an error is; Beam's workers hand theirs on as text only."""
    if isinstance(error, UserError):
        return re.sub(r" \[while running .*\]$", "", str(error))  # which Beam adds
    match = re.search(
        rf"{UserError.__module__}\.{UserError.__name__}: (.+?)(?: \[while running|$)", str(error), re.M
    )
    return match and match[1]


def _results(config: Config, served: Path, executions: dict[str, Execution]) -> dict[str, Any]:
    """The record's fields that come from the nodes' outputs, as far as the run came."""
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


def _tuning(config: Config, executions: dict[str, Execution]) -> dict[str, TuningRecord]:
    nodes = [tuner_id(config, name) for name in searched_backbones(config)]
    folders = {node: executions[node].outputs["trials"].uri for node in nodes if node in executions}
    return {
        node: TuningRecord(**_read_json(executions, node, "trials", SUMMARY), folder=folder)
        for node, folder in folders.items()
    }


def _pushed_version(served: Path, executions: dict[str, Execution]) -> str | None:
    """The version under which the winner is served, or None where it was refused or the run failed before."""
    if "Pusher" not in executions:
        return None
    pushed = executions["Pusher"].outputs["pushed_model"]
    version = pushed.properties.get("pushed_version")
    return version and restore_pushed(served, version=version, archive=pushed.uri)


def _uri(executions: dict[str, Execution], node: str, output: str) -> Path | None:
    return executions[node].outputs[output].uri if node in executions else None


def _read_json(executions: dict[str, Execution], node: str, output: str, name: str = "") -> Any:
    if node not in executions:
        return None
    return json.loads((executions[node].outputs[output].uri / name).read_text(encoding="utf-8"))
