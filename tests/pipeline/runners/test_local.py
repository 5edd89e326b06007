"""The local runner on a small graph: a candidate that fails, and the runs after it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from rich.console import Console
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from knet.base.errors import UserError
from knet.runs.record import NodeRecord, RunRecord
from knet.runs.registry import RunRegistry
from pipeline.runners.local import _earlier_durations, _failure, _Monitor, _run
from pipeline.runners.mlmd import unfinished_executions

CANDIDATES = ("mobilenet", "vgg16")


class Executor(base_executor.BaseExecutor):
    """Fails with the text of a file if it exists; otherwise lists its inputs."""

    def Do(  # noqa: N802 (the name in TFX)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        problem = Path(exec_properties["problem"])
        if problem.is_file():
            kind, _, text = problem.read_text().partition(": ")
            if kind == "ENOSPC":
                raise OSError(errno.ENOSPC, "No space left on device", text)
            raise {"UserError": UserError, "ValueError": ValueError}[kind](text)
        (artifact,) = output_dict["model"]
        Path(artifact.uri).mkdir(parents=True, exist_ok=True)
        (Path(artifact.uri) / "inputs").write_text(" ".join(name for name in input_dict if input_dict[name]))


class Node(base_component.BaseComponent):
    SPEC_CLASS = types.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, node_id: str, problem: Path, *, optional: bool = False, **inputs: Any) -> None:
        spec_class = type(
            "NodeSpec",
            (types.ComponentSpec,),
            {
                "PARAMETERS": {"problem": ExecutionParameter(type=str)},
                "INPUTS": {
                    name: ChannelParameter(type=channel.type, optional=optional)
                    for name, channel in inputs.items()
                },
                "OUTPUTS": {"model": ChannelParameter(type=standard_artifacts.Model)},
            },
        )
        model = types.Channel(type=standard_artifacts.Model)
        super().__init__(spec=spec_class(problem=str(problem), model=model, **inputs))
        self.with_id(node_id)


class Graph:
    """Two candidates, their evaluations and a selection, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.metadata = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))

    def problem(self, node: str) -> Path:
        """Return the file that makes a node fail."""
        return self._folder / node

    def run(self, *, require_all: bool = False) -> _Monitor:
        nodes: dict[str, Node] = {}
        for name in CANDIDATES:
            trainer = Node(f"Trainer-{name}", self.problem(f"Trainer-{name}"))
            evaluator = Node(
                f"Evaluator-{name}", self.problem(f"Evaluator-{name}"), trained=trainer.outputs["model"]
            )
            nodes |= {f"trainer_{name}": trainer, f"evaluator_{name}": evaluator}
        inputs = {name: node.outputs["model"] for name, node in nodes.items()}
        selector = Node("ModelSelector", self.problem("ModelSelector"), optional=True, **inputs)
        pipeline = Pipeline(
            pipeline_name="small",
            pipeline_root=str(self._folder / "artifacts"),
            components=[*nodes.values(), selector],
            enable_cache=True,
            metadata_connection_config=self.metadata,
        )
        return _run(pipeline, Console(quiet=True), self.metadata, require_all=require_all)


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setattr("sys.argv", ["knet"])
    return Graph(tmp_path)


def _states(monitor: _Monitor) -> dict[str, str]:
    return {node.node: node.state for node in monitor.nodes}


def _selected_from(monitor: _Monitor) -> str:
    return (monitor.executions["ModelSelector"].outputs["model"].uri / "inputs").read_text()


def test_failed_candidate_leaves_the_others_and_is_retried(graph: Graph) -> None:
    graph.problem("Trainer-vgg16").write_text("UserError: the loss is not finite")
    first = graph.run()
    assert first.failure is None
    assert first.candidate_failures == {"vgg16": "Trainer-vgg16: the loss is not finite"}
    assert _states(first) == {
        "Trainer-mobilenet": "done",
        "Trainer-vgg16": "failed",
        "Evaluator-mobilenet": "done",
        "Evaluator-vgg16": "skipped",
        "ModelSelector": "done",
    }
    assert set(_selected_from(first).split()) == {"trainer_mobilenet", "evaluator_mobilenet"}

    again = graph.run()
    assert _states(again) == {**dict.fromkeys(_states(first), "cached"), **{
        "Trainer-vgg16": "failed", "Evaluator-vgg16": "skipped"
    }}  # fmt: skip

    graph.problem("Trainer-vgg16").unlink()
    repaired = graph.run()
    assert repaired.candidate_failures == {}
    assert {node for node, state in _states(repaired).items() if state == "done"} == {
        "Trainer-vgg16",
        "Evaluator-vgg16",
        "ModelSelector",
    }
    assert set(_selected_from(repaired).split()) == {
        *(f"trainer_{name}" for name in CANDIDATES),
        *(f"evaluator_{name}" for name in CANDIDATES),
    }


def _fail(graph: Graph, problems: dict[str, str]) -> None:
    for node, problem in problems.items():
        graph.problem(node).write_text(problem)


@pytest.mark.parametrize(
    ("problems", "require_all", "message"),
    [
        ({"Trainer-vgg16": "UserError: no memory"}, True, "Trainer-vgg16: no memory"),
        ({"Trainer-vgg16": "ValueError: a bug"}, False, "Trainer-vgg16: ValueError: a bug"),
        ({"ModelSelector": "UserError: undefined"}, False, "ModelSelector: undefined"),
    ],
)
def test_other_failures_end_the_run(
    graph: Graph, problems: dict[str, str], require_all: bool, message: str
) -> None:
    _fail(graph, problems)
    monitor = graph.run(require_all=require_all)
    assert monitor.candidate_failures == {}
    assert _failure(monitor)["error"] == message
    assert [node for node, state in _states(monitor).items() if state == "failed"] == list(problems)


def test_full_disk_ends_the_run_for_all_candidates(graph: Graph) -> None:
    _fail(graph, {"Trainer-mobilenet": "ENOSPC: /tmp/none/model"})
    monitor = graph.run()
    assert monitor.candidate_failures == {}
    failure = _failure(monitor)
    assert failure["user_error"] and "/tmp/none/model: the disk is full" in failure["error"]


def test_unfinished_executions_are_those_that_never_ended(graph: Graph) -> None:
    _fail(graph, {"Trainer-mobilenet": "ValueError: a bug"})
    graph.run()
    assert unfinished_executions(graph.metadata) == []
    store = mlmd.MetadataStore(graph.metadata)
    failed = store.get_executions()[0]
    killed = pb.Execution(type_id=failed.type_id, last_known_state=pb.Execution.RUNNING)
    ids = store.put_executions([killed])
    assert unfinished_executions(graph.metadata) == ids


def test_failed_evaluation_leaves_the_others(graph: Graph) -> None:
    _fail(graph, {"Evaluator-mobilenet": "UserError: the score is no probability"})
    monitor = graph.run()
    assert monitor.candidate_failures == {"mobilenet": "Evaluator-mobilenet: the score is no probability"}
    assert "evaluator_mobilenet" not in _selected_from(monitor).split()


def test_earlier_durations_are_of_the_newest_run_that_was_not_cached(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    runs = {
        "20260101-000000": (NodeRecord("Transform", "done", 40.0), NodeRecord("Pusher", "failed", 9.0)),
        "20260102-000000": (NodeRecord("Transform", "done", 50.0), NodeRecord("Pusher", "done", 1.0)),
        "20260103-000000": (NodeRecord("Transform", "cached", 0.1),),
    }
    (tmp_path / "runs").mkdir()
    for run_id, nodes in runs.items():
        file = tmp_path / "runs" / f"{run_id}.json"
        file.write_text(make_record(run_id=run_id, nodes=nodes).to_json(), "utf-8")
    (tmp_path / "runs" / "20260104-000000.json").write_text("{}", "utf-8")
    assert _earlier_durations(RunRegistry(tmp_path)) == {"Transform": 50.0, "Pusher": 1.0}
