"""Runs the graph on this machine with TFX's BeamDagRunner, and records its executions in MLMD."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from ml_metadata.proto import metadata_store_pb2 as pb
from rich.console import Console
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.pipeline import Pipeline, RunOptions
from tfx.orchestration.portable import launcher

from knet.base import node_ids
from knet.base.digests import file_digest
from knet.base.disk import disk_full
from knet.base.errors import UserError
from knet.base.files import remove_path
from knet.base.storage import open_store
from knet.runs.active_run import REPORT, ActiveRun
from knet.runs.leftovers import temporary_files, unfinished_outputs
from knet.runs.record import Data, Execution, NodeRecord, RunRecord, read_record
from knet.runs.registry import PriorState, RunRegistry
from knet.runs.workspace import Workspace
from knet.serving.model_store import remove_leftovers
from pipeline.config.config import Config
from pipeline.dag import DataRef, PipelinePaths, create_pipeline, graph_digest
from pipeline.preflight import schema_file
from pipeline.runners.beam import beam_args, use_fn_api_runner_by_default
from pipeline.runners.console import NodeDisplay, user_message
from pipeline.runners.dry_run import copied_metadata, plan_nodes, temporary_folder
from pipeline.runners.lifecycle import (
    RunContext,
    RunOutcome,
    build_run_record,
    finalize_run,
    load_prior_state,
    start_run,
)
from pipeline.runners.mlmd import (
    open_metadata,
    read_execution,
    unfinished_executions,
    without_password,
)


def run_pipeline(
    config: Config,
    data: Data,
    *,
    run: ActiveRun,
    console: Console,
    note: str = "",
    tags: tuple[str, ...] = (),
) -> RunRecord:
    """Run every node, write the report, and record the run in the registry.

    Args:
        config: the experiment.
        data: as `prepare_data` found them.
        run: holds the lock of the output folder, and follows the nodes.
        console: shows the state of each node.
        note: remark of the user, for the record.
        tags: words of the user to find the run by.

    Returns:
        The record of the run; `error` holds the reason if it failed.
    """
    config = config.with_slices(data.slices)
    workspace = Workspace(config.output.resolve())
    registry = RunRegistry(workspace.registry)
    workspace.root.mkdir(parents=True, exist_ok=True)
    metadata_store = open_metadata(config, notify=console.print)
    unfinished = unfinished_outputs(workspace, unfinished_executions(metadata_store))
    for path in (*temporary_files(workspace), *unfinished):
        remove_path(path)
    remove_leftovers(workspace.served)
    pipeline, context = _prepare_run(
        config, data, workspace, metadata_store, started=run.started, artifacts=workspace.artifacts
    )
    context = replace(context, note=note, tags=tags)
    run.begin(build_run_record(context, RunOutcome(), pushed_folder=None))
    monitor = _run(
        pipeline,
        console,
        metadata_store,
        run=run,
        require_all=config.selection.require_all,
        expected=_earlier_durations(registry),
    )
    run.enter(REPORT)
    outcome = RunOutcome(
        tuple(monitor.nodes), monitor.executions, failures=monitor.candidate_failures, **_failure(monitor)
    )
    with console.status("writing results and report, and explaining the winner's predictions"):
        return finalize_run(
            context,
            outcome,
            registry=registry,
            served=workspace.served,
            folder=workspace.reports / context.run_id,
            explanations=open_store(workspace.explanations),
        )


def _earlier_durations(registry: RunRegistry) -> dict[str, float]:
    """Return the seconds that nodes took in the newest run in which they were not cached, by node."""
    durations: dict[str, float] = {}
    for file in registry.runs().values():
        with suppress(UserError):  # recorded by another version
            durations |= {node.node: node.seconds for node in read_record(file).nodes if node.state == "done"}
    return durations


def _prepare_run(
    config: Config,
    data: Data,
    workspace: Workspace,
    metadata_store: pb.ConnectionConfig,
    *,
    started: datetime | None,
    artifacts: Path,
) -> tuple[Pipeline, RunContext]:
    """Return the graph of a run, with what earlier runs left, and its context."""
    registry = RunRegistry(workspace.registry)
    schema = schema_file(config, data, workspace)
    prior = load_prior_state(registry, config, data)

    def build(prior: PriorState) -> Pipeline:
        return _pipeline(config, data, schema, prior, workspace, metadata_store, artifacts=artifacts)

    pipeline = build(prior)
    graph = graph_digest(pipeline)
    context = start_run(registry, config, data, prior=prior, schema=schema, graph=graph, started=started)
    return build(context.prior) if context.prior.baseline else pipeline, context


def plan_run(config: Config, data: Data) -> dict[str, str]:
    """Return for each node of a run whether the cache would answer it, `cached`, or it would `run`.

    Nothing is written to the output folder.

    Args:
        config: the experiment.
        data: as `prepare_data` found them.
    """
    config = config.with_slices(data.slices)
    workspace = Workspace(config.output.resolve())
    with temporary_folder() as folder:
        store = copied_metadata(config, workspace, Path(folder))
        pipeline, _ = _prepare_run(
            config, data, workspace, store, started=None, artifacts=Path(folder) / "artifacts"
        )
        return plan_nodes(pipeline, store)


def run_down_to(
    last: Collection[str],
    config: Config,
    data: Data,
    *,
    schema: Path,
    console: Console,
    prior: PriorState | None = None,
) -> dict[str, Execution]:
    """Run the graph's nodes in order, up to the last of the named ones.

    The nodes share their cache with whole runs. Nothing is added to the registry.

    Args:
        last: ids of nodes, such as `StatisticsGen`.
        config: the experiment.
        data: as `prepare_data` found them.
        schema: file of the schema that the data must match.
        console: shows the state of each node.
        prior: results of earlier runs, as `load_prior_state` finds them. None: no earlier run.

    Returns:
        The executions by node.

    Raises:
        UserError: a node failed for a reason that the user can fix.
        RuntimeError: a node failed for another reason.
    """
    workspace = Workspace(config.output.resolve())
    workspace.root.mkdir(parents=True, exist_ok=True)
    config = config.with_slices(data.slices)
    metadata_store = open_metadata(config, notify=console.print)
    pipeline = _pipeline(
        config,
        data,
        schema,
        prior or PriorState(),
        workspace,
        metadata_store,
        artifacts=workspace.artifacts,
    )
    unknown = sorted(set(last) - {node.id for node in pipeline.components})
    if unknown:
        raise UserError(
            f"no node {unknown[0]}; the graph has {', '.join(node.id for node in pipeline.components)}"
        )
    monitor = _run(pipeline, console, metadata_store, last=last)
    failure = _failure(monitor)
    if failure:
        raise UserError(failure["error"]) if failure["user_error"] else RuntimeError(failure["error"])
    return monitor.executions


def _pipeline(
    config: Config,
    data: Data,
    schema: Path,
    prior: PriorState,
    workspace: Workspace,
    metadata_store: pb.ConnectionConfig,
    *,
    artifacts: Path,
) -> Pipeline:
    return create_pipeline(
        config,
        DataRef(
            source=str(data.source),
            root=str(data.root or ""),
            schema_file=str(schema),
            schema_digest=file_digest(schema),
            fingerprint=data.fingerprint,
            digests=str(workspace.fingerprints),
            split_sha256=data.split_sha256,
            span=data.span,
            synthetic=data.synthetic,
        ),
        PipelinePaths(
            artifacts=str(artifacts),
            served=str(workspace.served),
            checkpoints=str(workspace.checkpoints),
            feature_cache=str(workspace.feature_maps),
        ),
        prior,
        beam_args=beam_args(config.beam),
        metadata_connection=without_password(metadata_store),  # TFX logs it
    )


class _Monitor:
    """State of the nodes of one run, updated as each starts and ends.

    Attributes:
        failure: the node that ended the run, and its error.
        candidate_failures: reasons by candidate that the run goes without.
    """

    def __init__(self, display: NodeDisplay, run: ActiveRun | None, *, require_all: bool) -> None:
        self.display = display
        self.run = run
        self.nodes: list[NodeRecord] = []
        self.executions: dict[str, Execution] = {}
        self.failure: tuple[str, Exception] | None = None
        self.candidate_failures: dict[str, str] = {}
        self._require_all = require_all

    def started(self, node: str) -> None:
        if self.run:
            self.run.enter(node)
        self.display.started(node)

    def succeeded(self, node: str, execution: Execution) -> None:
        self.executions[node] = execution
        self._ended(node, "cached" if execution.cached else "done")

    def failed(self, node: str, error: Exception) -> None:
        candidate, message = node_ids.candidate(node), user_message(error)
        if candidate and message and not (self._require_all or disk_full(error)):
            self.candidate_failures[candidate] = f"{node}: {message}"
        else:
            self.failure = node, error
        self._ended(node, "failed")

    def skipped(self, node: str) -> None:
        self.display.started(node)
        self._ended(node, "skipped")

    def _ended(self, node: str, state: str) -> None:
        self.nodes.append(NodeRecord(node, state, round(self.display.ended(node, state), 1)))
        if self.run:
            self.run.leave(self.nodes[-1])


class _MonitoredNode(beam_dag_runner.PipelineNodeAsDoFn):
    """Hook into TFX's execution of a node; the only use of that private API.

    Beam pickles and copies instances, so the monitor is an attribute of the class. FnApiRunner runs them in
    this process.
    """

    monitor: ClassVar[_Monitor]
    metadata_store: ClassVar[pb.ConnectionConfig]  # with the password, which TFX's copy lacks

    def _run_node(self) -> None:
        monitor, metadata_store = type(self).monitor, type(self).metadata_store
        if node_ids.candidate(self._node_id) in monitor.candidate_failures:
            monitor.skipped(self._node_id)
            return
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
            if monitor.failure:
                raise
            return
        monitor.succeeded(self._node_id, read_execution(metadata_store, execution.execution_id))


class _MonitoredRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _MonitoredNode


def _run(
    pipeline: Pipeline,
    console: Console,
    metadata_store: pb.ConnectionConfig,
    *,
    run: ActiveRun | None = None,
    require_all: bool = True,
    last: Collection[str] = (),
    expected: Mapping[str, float] | None = None,
) -> _Monitor:
    """Run the graph, or its nodes up to the last of the named ones; the monitor holds a node's failure.

    A candidate's node that fails with a user-correctable error ends the run only if `require_all` is set.
    Otherwise the candidate's later nodes are skipped, and the run goes without it. MLMD records the failed
    execution as such, so that the next run tries it again.
    """
    # Beam and absl would both parse the process's arguments.
    sys.argv[1:] = []
    use_fn_api_runner_by_default()
    nodes = [node.id for node in pipeline.components]
    wanted = nodes[: max(map(nodes.index, last)) + 1] if last else nodes
    with NodeDisplay(console, wanted, expected=expected) as display:
        _MonitoredNode.monitor = monitor = _Monitor(display, run, require_all=require_all)
        _MonitoredNode.metadata_store = metadata_store
        try:
            _MonitoredRunner().run(pipeline, run_options=RunOptions(to_nodes=wanted) if last else None)
        except Exception:
            if monitor.failure is None:  # not a node's failure but the runner's
                raise
    return monitor


def _failure(monitor: _Monitor) -> dict[str, Any]:
    """Return the error fields of RunOutcome."""
    if monitor.failure is None:
        return {}
    node, error = monitor.failure
    message = user_message(error)
    return {
        "error": f"{node}: {message or f'{type(error).__name__}: {error}'}",
        "user_error": message is not None,
    }
