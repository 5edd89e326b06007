"""Dry run: which nodes of a run would be answered from the cache, without running any."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher

from knet.base.errors import UserError
from knet.runs.workspace import Workspace
from pipeline.config.config import Config
from pipeline.runners.beam import use_fn_api_runner_by_default

CACHED, RUN = "cached", "run"


def plan_nodes(pipeline: Pipeline, metadata_store: pb.ConnectionConfig) -> dict[str, str]:
    """Return `cached` or `run` for each node, in the order of the graph.

    A node below one that runs is `run` too: what it reads is not known yet. If its inputs come out as before,
    it is answered from the cache nevertheless.

    Args:
        pipeline: the graph.
        metadata_store: of MLMD; executions are added to it.
    """
    states: dict[str, str] = {}
    _PlannedNode.states = states
    _PlannedNode.metadata_store = metadata_store
    use_fn_api_runner_by_default()
    _PlanningRunner().run(pipeline)
    return {node.id: states[node.id] for node in pipeline.components}


def copied_metadata(config: Config, workspace: Workspace, folder: Path) -> pb.ConnectionConfig:
    """Return the connection to a copy of the MLMD database, which a dry run writes to.

    Args:
        config: the experiment.
        workspace: of the run.
        folder: folder of the copy.

    Raises:
        UserError: the database is on a server.
    """
    if config.metadata:
        raise UserError("--dry-run copies the MLMD database, which metadata.host has on a server: remove it")
    copy = folder / workspace.metadata.name
    if workspace.metadata.is_file():
        shutil.copy(workspace.metadata, copy)
    return metadata.sqlite_metadata_connection_config(str(copy))


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for the database and for the output folders that TFX creates."""
    return tempfile.TemporaryDirectory(prefix="knet-dry-run-")


class _NotCachedError(Exception):
    """An executor would run."""


class _Launcher(launcher.Launcher):
    def _run_executor(self, execution_info: Any) -> Any:
        raise _NotCachedError


class _PlannedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """Looks up the cache in place of TFX's execution of a node."""

    states: ClassVar[dict[str, str]]
    metadata_store: ClassVar[pb.ConnectionConfig]

    def _run_node(self) -> None:
        states = type(self).states
        if any(states[node] == RUN for node in self._pipeline_node.upstream_nodes):
            states[self._node_id] = RUN
            return
        try:
            _Launcher(
                pipeline_node=self._pipeline_node,
                mlmd_connection=metadata.Metadata(type(self).metadata_store),
                pipeline_info=self._pipeline_info,
                pipeline_runtime_spec=self._pipeline_runtime_spec,
                executor_spec=self._executor_spec,
                custom_driver_spec=self._custom_driver_spec,
            ).launch()
        except _NotCachedError:
            states[self._node_id] = RUN
        else:
            states[self._node_id] = CACHED


class _PlanningRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _PlannedNode
