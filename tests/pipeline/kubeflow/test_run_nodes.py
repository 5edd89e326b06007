"""RunStart reads data and registry; RunReport and RunEnd record the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from knet.data.sample_data import write_sample_data
from knet.report.queries import find_run
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.config.load import load_config
from pipeline.kubeflow import run_nodes
from pipeline.kubeflow.run_nodes import ContainerNode, run_node
from pipeline.kubeflow.run_state import log_failure_and_exit, read_failures


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the registry, in the environment of a container."""
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    monkeypatch.setenv("KNET_NODE", "DataGate")
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path / "memory"))
    return tmp_path / "memory"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_data(
        tmp_path_factory.mktemp("images") / "data", patients=12, images_per_magnification=1, seed=0
    )


def _start(location: Path, images: Path, folder: Path, **given: Any) -> dict[str, str]:
    config = load_config("demo", ["tuning=null", "data.split.test_share=0.25", "data_gate.drift=true"])
    config = config.with_slices(["magnification", "subtype"])
    values = {"data_source": str(images), "data_root": "", "registry": str(location), "seed": 0, "epochs": 3}
    values |= {"config": config.model_dump_json(), "graph": "0" * 64}
    names = [
        "fingerprint",
        "split_sha256",
        "span",
        "synthetic_data",
        "previous_statistics",
        "previous_digest",
    ]
    names += ["baseline", "baseline_digest", "baseline_version"]
    names += [f"{kind}_{name}" for name in config.candidates for kind in ("trials", "trials_digest")]
    outputs = {name: {"outputFile": str(folder / name)} for name in names}
    message = {"inputs": {"parameterValues": {**values, **given}}, "outputs": {"parameters": outputs}}
    run_node(run_nodes.run_start, ["--executor_input", json.dumps(message)])
    return {name: (folder / name).read_text("utf-8") for name in names}


@pytest.mark.slow
def test_run_start_outputs_data_and_prior_state(location: Path, images: Path, tmp_path: Path) -> None:
    first = _start(location, images, tmp_path / "first")
    assert len(first["fingerprint"]) == 64 and first["previous_digest"] == first["baseline"] == ""
    assert (first["span"], first["synthetic_data"]) == ("1", "true")
    (tmp_path / "statistics").mkdir()
    (tmp_path / "statistics" / "FeatureStats.pb").write_bytes(b"")
    stored = RunRegistry(location / "registry").store_statistics(
        tmp_path / "statistics", run_id="a", schema=Path("s.pbtxt")
    )
    second = _start(location, images, tmp_path / "second")
    assert second["previous_digest"] == stored.digest and second["previous_statistics"] == str(stored.folder)
    assert {name: second[name] for name in ("fingerprint", "span")} == {
        name: first[name] for name in ("fingerprint", "span")
    }


def test_run_start_refuses_a_parameter_out_of_range(
    location: Path, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _start(location, images, tmp_path / "first", epochs=0)
    assert ended.value.code == 1 and "training.epochs: Input should be greater than" in capfd.readouterr().err


def test_run_end_records_the_failure(location: Path, images: Path, tmp_path: Path) -> None:
    _start(location, images, tmp_path / "first")
    with pytest.raises(SystemExit), log_failure_and_exit():
        raise UserError("the images drifted")
    assert [failure.node for failure in read_failures(location)] == ["DataGate"]

    end = ContainerNode({"inputs": {"parameterValues": {"registry": str(location)}}})
    run_nodes.run_end(end)
    record, folder = find_run("last", Workspace(location))
    assert record.error == "DataGate: the images drifted" and record.user_error
    assert [(node.node, node.state) for node in record.nodes] == [("DataGate", "failed")]
    assert "the images drifted" in (folder / "report.html").read_text("utf-8")

    run_nodes.run_end(end)  # a retry finds the record
    assert len(RunRegistry(location / "registry").runs()) == 1


def test_run_end_without_context_writes_nothing(location: Path) -> None:
    run_nodes.run_end(ContainerNode({"inputs": {"parameterValues": {"registry": str(location)}}}))
    assert not location.exists()


def test_run_end_without_run_id_names_the_remedy(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_RUN_ID")
    with pytest.raises(UserError, match="KFP_RUN_ID is not set: submit the whole file"):
        run_nodes.run_end(ContainerNode({"inputs": {"parameterValues": {"registry": str(location)}}}))


def test_parse_input_artifacts_returns_executions(location: Path, make_record: Callable[..., Any]) -> None:
    def held(uri: str) -> dict[str, Any]:
        return {"artifacts": [{"name": "1", "uri": uri, "metadata": {"seconds": 2.5}}]}

    artifacts = {
        "Trainer-vgg16--model": held("minio://bucket/knet/run-1/Trainer-vgg16/model"),
        "Transform--transform_graph": held("minio://bucket/knet/run-0/Transform/transform_graph"),
    }
    artifacts["workspace"] = held("minio://bucket/workspace")  # no output of a node
    executions = ContainerNode({"inputs": {"artifacts": artifacts}}).parse_input_artifacts()
    assert set(executions) == {"Trainer-vgg16", "Transform"}
    assert executions["Transform"].cached and not executions["Trainer-vgg16"].cached
    model = executions["Trainer-vgg16"].outputs["model"]
    assert (str(model.uri), model.remote) == (
        "/minio/bucket/knet/run-1/Trainer-vgg16/model",
        "minio://bucket/knet/run-1/Trainer-vgg16/model",
    )
