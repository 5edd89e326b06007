"""The graph compiles for Kubeflow Pipelines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load_config
from pipeline.runners.kubeflow import compile_pipeline


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("compiled") / "new" / "pipeline.yaml"
    compile_pipeline(load_config("demo"), output)
    return yaml.safe_load(output.read_text("utf-8"))


def test_schema_version_is_2_1_0(spec: dict[str, Any]) -> None:
    assert spec["schemaVersion"] == "2.1.0"


def test_every_node_is_a_task_with_an_argo_safe_name(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    assert len(tasks) == 21
    assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]*", name) for name in tasks)


def test_transform_waits_for_the_data_gate(spec: dict[str, Any]) -> None:
    assert "DataGate" in spec["root"]["dag"]["tasks"]["Transform"]["dependentTasks"]


def test_the_data_gate_is_compiled_without_anything_to_compare_with(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["dag"]["tasks"]["DataGate"]["inputs"]["parameters"]
    constants = {name: value["runtimeValue"]["constant"] for name, value in parameters.items()}
    assert constants["previous_statistics"] == constants["previous_digest"] == ""


def test_the_gate_is_compiled_without_a_baseline_unless_its_place_is_configured(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    def constants(tree: dict[str, Any]) -> dict[str, Any]:
        parameters = tree["root"]["dag"]["tasks"]["ModelGate"]["inputs"]["parameters"]
        return {name: value["runtimeValue"]["constant"] for name, value in parameters.items()}

    assert constants(spec)["baseline"] == ""
    output = tmp_path / "pipeline.yaml"
    overrides = ["gate.margin=0.05", "kubeflow.baseline=/data/production.parquet"]
    compile_pipeline(load_config("demo", overrides), output)
    placed = constants(yaml.safe_load(output.read_text("utf-8")))
    assert (placed["baseline"], placed["baseline_digest"]) == ("/data/production.parquet", "")


def test_nothing_of_this_machine_is_compiled_in(spec: dict[str, Any]) -> None:
    assert str(Path(__file__).resolve().parents[3]) not in yaml.safe_dump(spec)


def test_every_node_carries_its_code_digest(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"].values()
    assert all("code_digest" in task["inputs"]["parameters"] for task in tasks)
