"""The graph: ids of its nodes, and digests of the code that they run."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tfx.orchestration.pipeline import Pipeline

from components.local_runner import TWO_PROCESSES_FROM
from knet.base import digests, node_ids
from pipeline import dag
from pipeline.config.config import BeamConfig
from pipeline.config.load import load_config
from pipeline.dag import graph_digest
from pipeline.kubeflow.compiler import compile_pipeline, compile_spec
from pipeline.runners.beam import beam_args


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of our packages."""
    copy = tmp_path / "tree"
    for package in digests._PACKAGES:
        shutil.copytree(digests._ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _edit(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / file
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def _code_digests(tree: Path) -> dict[str, str]:
    """The code digests of a tree's nodes."""
    output = tree.with_name("pipeline.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag, "code_digest", functools.partial(digests.code_digest, root=tree))
        compile_pipeline(load_config("demo"), output)
    spec = next(yaml.safe_load_all(output.read_text("utf-8")))
    tasks = spec["components"]["Graph"]["dag"]["tasks"]
    found = {name: task["inputs"]["parameters"].get("code_digest") for name, task in tasks.items()}
    return {name: str(value["runtimeValue"]) for name, value in found.items() if value}


def test_node_ids_of_the_graph_are_the_constants() -> None:
    spec = compile_spec(load_config("demo").with_slices(()))
    kinds = {node_ids.kind(name) for name in spec["root"]["dag"]["tasks"]}
    kinds |= {node_ids.RUN_START, node_ids.RUN_REPORT, node_ids.RUN_END}  # which the compiler adds
    assert kinds == {name for constant, name in vars(node_ids).items() if constant.isupper()}


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in after.items() if value != before[name]}


def _training(nodes: dict[str, str]) -> set[str]:
    """Tuner and Trainers."""
    found = {name for name in nodes if name.partition("-")[0] in {"Tuner", "Trainer"}}
    assert any(name.startswith("Tuner") for name in found) and len(found) > 1
    return found


def test_code_digests_of_nodes_ignore_comments_and_docstrings(tree: Path) -> None:
    before = _code_digests(tree)
    _edit(tree, "pipeline/config/cron.py", "# Smallest and largest number", "# Lowest and highest number")
    _edit(tree, "knet/training/trainer.py", '"""Train, restore', '"""Train the model, restore')
    assert len(before) > 10 and _code_digests(tree) == before


@pytest.mark.slow
def test_code_digest_changes_where_the_optimiser_is_run(tree: Path) -> None:
    before = _code_digests(tree)
    _edit(tree, "knet/models/optimizer.py", "momentum: Any = 0.9,", "momentum: Any = 0.8,")
    # ServingValidator loads the Keras model, whose class stands beside the optimiser.
    assert _changed(before, _code_digests(tree)) == _training(before) | {"ServingValidator"}


def test_code_digests_cover_kubeflow_settings_in_training_at_most(tree: Path) -> None:
    # Importing a section of settings runs pipeline.config, which composes them all.
    before = _code_digests(tree)
    _edit(tree, "pipeline/config/kubeflow.py", "cpu: Quantity = Field(2", "cpu: Quantity = Field(3")
    _edit(tree, "pipeline/config/cron.py", '"second": (0, 59, {})', '"second": (0, 60, {})')
    assert _changed(before, _code_digests(tree)) <= _training(before)


def graph(**nodes: dict[str, Any]) -> Any:
    """A pipeline with the attributes that `graph_digest` reads."""
    return SimpleNamespace(
        components=[SimpleNamespace(id=name, exec_properties=settings) for name, settings in nodes.items()]
    )


def test_graph_digest_is_the_same_for_the_same_settings() -> None:
    one = graph(Trainer={"code_digest": "1", "folder": Path("/a")}, ModelGate={"rules": "{}"})
    other = graph(ModelGate={"rules": "{}"}, Trainer={"folder": "/a", "code_digest": "1"})
    assert graph_digest(one) == graph_digest(other)


def test_graph_digest_changes_with_a_setting_or_node() -> None:
    before = graph_digest(graph(Trainer={"code_digest": "1"}))
    assert graph_digest(graph(Trainer={"code_digest": "2"})) != before
    assert graph_digest(graph(Trainer={"code_digest": "1"}, Tuner={})) != before


def test_graph_digest_ignores_the_statistics_of_earlier_runs() -> None:
    first, later = (graph(DataGate={"previous_digest": digest}, Trainer={}) for digest in ("", "1"))
    assert graph_digest(first) == graph_digest(later)


def built(*settings: str) -> Pipeline:
    config = load_config("demo", list(settings)).with_slices(())
    data = dag.DataRef(source="/data", root="", schema_file="/schema.pbtxt")
    paths = dag.PipelinePaths(artifacts="/a", served="/s", checkpoints="/c", feature_cache="/f")
    return dag.create_pipeline(config, data, paths, beam_args=beam_args(config.beam))


def beam_options(pipeline: Pipeline) -> dict[str, list[str]]:
    return {
        node_ids.kind(node.id): node.executor_spec.beam_pipeline_args
        for node in pipeline.components
        if hasattr(node.executor_spec, "beam_pipeline_args")
    }


def test_beam_options_of_a_component_follow_those_of_all() -> None:
    beam = "workers: 2, args: [--a=1], components: {Transform: [--b=2], Evaluator: [--c=3]}"
    common = beam_args(load_config("demo", [f"beam={{{beam}}}"]).beam)
    own = {"Transform": ["--b=2"], "Evaluator": ["--c=3"]}
    found = beam_options(built(f"beam={{{beam}}}"))
    assert found.keys() >= {"BreakHisExampleGen", "StatisticsGen", *own}
    for kind, args in found.items():
        assert args == [*common, *own.get(kind, [])], kind


def test_automatic_beam_workers_have_a_threshold_by_component() -> None:
    found = beam_options(built("beam.components={Transform: [--b=2]}"))
    common = beam_args(BeamConfig())
    assert found["Transform"] == [*common, f"--two_processes_from={TWO_PROCESSES_FROM['Transform']}", "--b=2"]
    assert found["Evaluator"] == common  # its model uses all cores in one process
    assert TWO_PROCESSES_FROM.keys() < found.keys()


def test_beam_workers_of_another_runner_have_no_threshold() -> None:
    found = beam_options(built("beam.args=[--runner=PortableRunner]"))
    assert not any("two_processes" in arg for args in found.values() for arg in args)


def test_beam_workers_do_not_change_the_cache_key() -> None:
    keys = {graph_digest(built(f"beam.workers={workers}")) for workers in (1, 2, "auto")}
    assert len(keys) == 1
