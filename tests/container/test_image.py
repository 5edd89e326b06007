"""The image, really built, and run without root, network or a writable root file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.container

_REPOSITORY = Path(__file__).resolve().parents[2]
_TINY = (
    "image.size=32",
    "candidates={mobilenet: {alpha: 0.25, weights: none}}",
    "tuning=null",
    "data.split.test_share=0.25",
    "kubeflow.registry=/work/registry",
)
_LARGEST = {"cpu": 4.5, "cuda": 12.0}  # GB


def test_its_size_is_known(image: Any, capsys: pytest.CaptureFixture[str]) -> None:
    device = os.environ.get("DEVICE", "cpu")
    size = image.config()["Size"] / 1e9
    with capsys.disabled():
        print(f"\nimage for {device}: {size:.2f} GB, built in {image.seconds / 60:.1f} minutes")
    assert size < _LARGEST[device]


def test_it_says_what_it_is_and_who_runs_it(image: Any) -> None:
    found = image.config()
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert found["Healthcheck"]["Test"] == ["CMD", "knet", "--version"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "breakhis-knet"
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert f"KNET_COMMIT={labels['org.opencontainers.image.revision']}" in config["Env"]
    assert "TF_USE_LEGACY_KERAS=0" in config["Env"]
    assert not [variable for variable in config["Env"] if variable.startswith("PYTHONPATH=")]


def test_it_runs_as_nobody_and_writes_to_tmp_and_the_volume_alone(image: Any) -> None:
    script = (
        'id -u; for place in / /app /opt/knet /home /tmp /work; do touch "$place/x" && echo "$place"; done'
    )
    assert image.run("sh", "-c", script, check=False).split() == ["10001", "/tmp", "/work"]


def test_it_has_exactly_what_the_lock_says_and_ours(image: Any) -> None:
    code = (
        "from importlib.metadata import distributions as d; [print(p.name.lower(), p.version) for p in d()]"
    )
    lines = image.run("python", "-c", code).splitlines()
    installed = {name.replace("_", "-").replace(".", "-"): version for name, version in map(str.split, lines)}
    lock = "current" if os.environ.get("DEVICE", "cpu") == "cpu" else "current-cuda"
    pinned = {
        line.split("==")[0].replace(".", "-"): line.split("==")[1].split()[0]
        for line in (_REPOSITORY / "requirements" / f"{lock}.lock").read_text("utf-8").splitlines()
        if line[:1].isalnum()
    }
    assert installed.pop("breakhis-knet") == installed.pop("breakhis-knet-pipeline")
    assert installed.items() <= pinned.items()
    assert {"tfx", "tensorflow", "keras", "kfp"} <= installed.keys()


def test_no_build_tools_are_left(image: Any) -> None:
    tools = "pip pip3 uv gcc cc g++ make git curl wget"
    assert image.run("sh", "-c", f"for tool in {tools}; do command -v $tool; done", check=False) == ""


def test_knet_and_the_entrypoint_say_how_they_are_used(image: Any) -> None:
    assert "kubeflow" in image.run("knet", "--help")
    assert image.run("knet", "--version").startswith("knet, version ")
    said = image.run("python", "-m", "pipeline.kubeflow.entrypoint", "--help")
    assert "--executor_class_path" in said


def test_the_schema_is_where_kubeflow_looks_for_it(image: Any) -> None:
    shown = image.run("cat", "/app/schemas/breakhis.pbtxt")
    assert shown == (_REPOSITORY / "schemas" / "breakhis.pbtxt").read_text("utf-8")


def test_containers_of_the_compiled_graph_transform_images(image: Any) -> None:
    """The graph is compiled in the image, and four of its nodes run there as their containers would."""
    image.run("knet", "sample-data", "/work/data", "--patients", "12")
    settings = [word for setting in _TINY for word in ("--set", setting)]
    image.run("knet", "kubeflow", "compile", "--output", "/work/pipeline.yaml", *settings)
    documents = list(yaml.safe_load_all((image.volume / "pipeline.yaml").read_text("utf-8")))
    graph = documents[0]["components"]["Graph"]["dag"]
    nodes = ("RunStart", "BreakHisExampleGen", "ImportSchemaGen", "Transform")
    graph["tasks"] = {node: graph["tasks"][node] for node in nodes}
    del graph["tasks"]["Transform"]["dependentTasks"]  # a gate, which hands nothing on
    del documents[0]["root"]["dag"]["tasks"]["RunEnd"]  # which would miss the report
    (image.volume / "cut.yaml").write_text(yaml.safe_dump_all(documents), "utf-8")
    said = image.run(
        "knet", "kubeflow", "simulate", "/work/cut.yaml", "--data", "/work/data", "--root", "/work/cluster"
    )
    assert {node for node in nodes if f"{node}: done" in said} == set(nodes)
    stored = image.volume / "cluster" / "store"
    assert list(stored.glob("**/Transform/*/transformed_examples/Split-train/*"))
    assert list(stored.glob("**/Transform/*/transform_graph/transform_fn/saved_model.pb"))
