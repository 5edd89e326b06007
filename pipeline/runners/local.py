"""Runs the graph on this machine: TFX's BeamDagRunner, noted in MLMD."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from ml_metadata.proto import metadata_store_pb2 as pb
from rich.console import Console
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.pipeline import Pipeline, RunOptions
from tfx.orchestration.portable import launcher

from knet.base.digests import file_digest
from knet.base.errors import UserError
from knet.runs.record import Data, Execution, NodeRecord, RunRecord
from knet.runs.registry import RunRegistry, StoredPredictions
from knet.runs.workspace import Workspace
from pipeline.config.config import Config
from pipeline.dag import create_pipeline, graph_digest
from pipeline.preflight import schema_file
from pipeline.runners.beam import beam_args, use_fn_api_runner_by_default
from pipeline.runners.console import NodeDisplay, user_message
from pipeline.runners.lifecycle import PriorState, RunOutcome, finalize_run, load_prior_state, start_run
from pipeline.runners.mlmd import open_metadata, read_execution, without_password


def run_pipeline(config: Config, data: Data, *, console: Console) -> RunRecord:
    """Runs every node, keeps a record of the run in the registry, and returns it.

    A failed run is recorded too; its `error` says why.
    """
    config = config.with_slices(data.slices)
    workspace = Workspace(config.output.resolve())
    registry = RunRegistry(workspace.registry)
    workspace.root.mkdir(parents=True, exist_ok=True)
    metadata_store = open_metadata(config)
    schema = schema_file(config, data, workspace)
    remembered = load_prior_state(registry, config, data)
    given: dict[str, Any] = {"metadata_store": metadata_store, "schema": schema, "remembered": remembered}
    pipeline = _pipeline(config, data, workspace, **given)
    graph = graph_digest(pipeline)
    beginning = start_run(registry, config, data, remembered=remembered, schema=schema, graph=graph)
    if beginning.baseline:
        pipeline = _pipeline(config, data, workspace, **given, baseline=beginning.baseline)
    monitor = _run(pipeline, console, metadata_store)
    outcome = RunOutcome(tuple(monitor.nodes), monitor.executions, **_failure(monitor))
    with console.status("keeping the results, and explaining the winner's answers to test images"):
        return finalize_run(
            beginning,
            outcome,
            registry=registry,
            served=workspace.served,
            folder=workspace.reports / beginning.run_id,
            explanations=workspace.explanations,
        )


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
    pipeline = _pipeline(
        config, data, workspace, metadata_store=metadata_store, schema=schema, remembered=PriorState()
    )
    monitor = _run(pipeline, console, metadata_store, last=last)
    failure = _failure(monitor)
    if failure:
        raise UserError(failure["error"]) if failure["user_error"] else RuntimeError(failure["error"])
    return monitor.executions


def _pipeline(
    config: Config,
    data: Data,
    workspace: Workspace,
    *,
    metadata_store: pb.ConnectionConfig,
    schema: Path,
    remembered: PriorState,
    baseline: StoredPredictions | None = None,
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
        previous_statistics=remembered.statistics,
        baseline=baseline,
        previous_trials=remembered.trials,
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
    message = user_message(error)
    return {
        "error": f"{node}: {message or f'{type(error).__name__}: {error}'}",
        "user_error": message is not None,
    }
