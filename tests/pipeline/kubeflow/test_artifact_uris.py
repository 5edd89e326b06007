"""Where artifacts are inside a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.kubeflow import artifact_uris
from pipeline.kubeflow.artifact_uris import local_path, remote_uri, shared_volume


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/minio/bucket/a/b"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("gs://bucket/a", "/gcs/bucket/a"),
    ],
)
def test_there_and_back(uri: str, path: str) -> None:
    assert local_path(uri) == path
    assert remote_uri(path) == uri


def test_what_is_local_stays() -> None:
    assert local_path("/data/BreaKHis_v1") == "/data/BreaKHis_v1"
    assert remote_uri("/data/BreaKHis_v1") == "/data/BreaKHis_v1"


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a pod, in which the launcher downloaded an input, beside the folder of the exchange."""
    root = tmp_path / "pod"
    monkeypatch.setenv("KNET_EXCHANGE", str(tmp_path / "exchange"))
    monkeypatch.setattr(artifact_uris, "LAUNCHER_ROOT", str(root))
    examples = root / "minio" / "bucket" / "examples" / "train"
    examples.mkdir(parents=True)
    (examples / "a.gz").write_text("images")
    (root / "minio" / "bucket" / "hyperparameters").write_text("{}")
    return root


@pytest.fixture
def message(tmp_path: Path) -> dict[str, Any]:
    def held(*names: str) -> dict[str, Any]:
        place = tmp_path / "exchange" / "minio" / "bucket"
        return {"artifacts": {name: {"artifacts": [{"uri": str(place / name)}]} for name in names}}

    return {"inputs": held("examples", "hyperparameters"), "outputs": held("run1/model")}


def test_inputs_are_there_before_and_outputs_with_the_launcher_after(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    shared = tmp_path / "exchange" / "minio" / "bucket"
    with shared_volume(message):
        assert (shared / "examples" / "train" / "a.gz").read_text() == "images"
        assert (shared / "hyperparameters").read_text() == "{}"
        (shared / "run1" / "model").mkdir()  # its parent is there
        (shared / "run1" / "model" / "saved_model.pb").write_text("graph")
        assert not (pod / "minio" / "bucket" / "run1").exists()
    assert (pod / "minio" / "bucket" / "run1" / "model" / "saved_model.pb").read_text() == "graph"


def test_an_output_of_a_node_that_fails_is_not_handed_over(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError), shared_volume(message):
        (tmp_path / "exchange" / "minio" / "bucket" / "run1" / "model").mkdir()
        raise RuntimeError
    assert not (pod / "minio" / "bucket" / "run1").exists()


def test_what_another_node_brought_is_left_alone_and_what_is_half_is_replaced(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    examples = tmp_path / "exchange" / "minio" / "bucket" / "examples" / "train"
    examples.mkdir(parents=True)
    (examples / "a.gz").write_text("imag")
    with shared_volume(message):
        pass
    whole = (examples / "a.gz").stat()
    with shared_volume(message), (examples / "a.gz").open() as reading:
        assert os.fstat(reading.fileno()).st_ino == whole.st_ino
    assert [path.name for path in examples.iterdir()] == ["a.gz"]


def test_without_an_exchange_nothing_is_done(
    message: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KNET_EXCHANGE", raising=False)
    with shared_volume(message):
        assert not (tmp_path / "exchange").exists()


def test_uris_go_to_the_exchange_and_back() -> None:
    code = (
        "import json; from pipeline.kubeflow.artifact_uris import local_path, remote_uri;"
        "there = local_path('minio://b/k'); print(json.dumps([there, remote_uri(there)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KNET_EXCHANGE": "/exchange", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["/exchange/minio/b/k", "minio://b/k"]
