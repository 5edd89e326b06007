"""Runs that share one MariaDB as their MLMD database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.config.load import load_config
from pipeline.runners.mlmd import open_metadata

pytestmark = pytest.mark.slow

_REPOSITORY = Path(__file__).resolve().parents[3]
_SUPPORT = _REPOSITORY / "tests" / "support"
_TOGETHER, _RUNS = ("left", "right"), ("left", "right", "again")
_NODES = {"BreakHisExampleGen", "ImportSchemaGen"}


@dataclass(frozen=True)
class Shared:
    """Results of three runs of a pipeline: two concurrent ones, and one after them."""

    output: Path
    log: str
    nodes: dict[str, dict[str, Any]]  # by run and node
    store: mlmd.MetadataStore


@pytest.fixture(scope="module")
def shared(mariadb: Any, fork_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    output = tmp_path_factory.mktemp("shared")
    log = output.with_name("shared.log")
    settings = [*mariadb.settings("shared"), "data.split.test_share=0.25"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KNET_METADATA_PASSWORD", mariadb.password)
        path = os.pathsep.join((str(_REPOSITORY), str(_SUPPORT)))
        with log.open("wb") as stream:
            done = fork_server.run(
                [sys.executable, "-m", "run_together", str(output), *settings],
                env={**os.environ, "PYTHONPATH": path, "CONNECT_LOG": os.devnull},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        assert done.returncode == 0, log.read_text("utf-8")[-4000:]
        store = mlmd.MetadataStore(open_metadata(load_config("demo", settings)))
    nodes = {name: json.loads((output / f"{name}.json").read_text("utf-8")) for name in _RUNS}
    return Shared(output, log.read_text("utf-8"), nodes, store)


def test_concurrent_runs_succeed_in_every_node(shared: Shared) -> None:
    assert {run: set(nodes) for run, nodes in shared.nodes.items()} == dict.fromkeys(_RUNS, _NODES)
    for nodes in shared.nodes.values():
        for node in nodes.values():
            assert node["outputs"]
            assert all(Path(uri).exists() for uri in node["outputs"].values())


def test_concurrent_runs_share_no_executions_or_artifacts(shared: Shared) -> None:
    left, right = (shared.nodes[name]["BreakHisExampleGen"] for name in _TOGETHER)
    assert not (left["cached"] or right["cached"])
    assert left["id"] != right["id"]
    assert not set(left["outputs"].values()) & set(right["outputs"].values())
    seeds = [json.loads(Path(run["outputs"]["splits"]).read_text("utf-8"))["seed"] for run in (left, right)]
    assert seeds == [1, 2]


def test_mlmd_has_a_run_context_for_each_run(shared: Shared) -> None:
    assert len(shared.store.get_contexts_by_type("pipeline")) == 1
    runs = shared.store.get_contexts_by_type("pipeline_run")
    executions = [shared.store.get_executions_by_context(run.id) for run in runs]
    assert [len(found) for found in executions] == [len(_NODES)] * len(_RUNS)
    ids = {execution.id for found in executions for execution in found}
    assert ids == {node["id"] for nodes in shared.nodes.values() for node in nodes.values()}
    ended = {pb.Execution.COMPLETE, pb.Execution.CACHED}
    assert {execution.last_known_state for found in executions for execution in found} <= ended


def test_later_run_is_answered_from_the_cache(shared: Shared) -> None:
    assert all(node["cached"] for node in shared.nodes["again"].values())
    again, right = (shared.nodes[name]["BreakHisExampleGen"] for name in ("again", "right"))
    assert again["outputs"] == right["outputs"]


def test_password_is_neither_logged_nor_stored(shared: Shared, mariadb: Any) -> None:
    assert f"port: {mariadb.port}" in shared.log  # TFX logs the connection
    assert mariadb.password not in shared.log
    files = [path for path in shared.output.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if mariadb.password.encode() in path.read_bytes()]


def test_output_has_no_sqlite_database(shared: Shared) -> None:
    assert not (shared.output / "metadata.sqlite").exists()
