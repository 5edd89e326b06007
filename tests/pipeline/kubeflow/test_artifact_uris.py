"""Paths of artifacts inside a container, and copies on a shared volume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.kubeflow import artifact_uris
from pipeline.kubeflow.artifact_uris import check_environment, local_path, remote_uri, shared_volume


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/minio/bucket/a/b"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("gs://bucket/a", "/gcs/bucket/a"),
    ],
)
def test_remote_uri_inverts_local_path(uri: str, path: str) -> None:
    assert local_path(uri) == path
    assert remote_uri(path) == uri


def test_local_path_leaves_local_paths_unchanged() -> None:
    assert local_path("/data/BreaKHis_v1") == "/data/BreaKHis_v1"
    assert remote_uri("/data/BreaKHis_v1") == "/data/BreaKHis_v1"


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a pod with downloaded inputs, in an environment with a shared folder."""
    root = tmp_path / "pod"
    monkeypatch.setenv("KNET_SHARED_DIR", str(tmp_path / "shared"))
    monkeypatch.setattr(artifact_uris, "LAUNCHER_ROOT", str(root))
    examples = root / "minio" / "bucket" / "examples" / "train"
    examples.mkdir(parents=True)
    (examples / "a.gz").write_text("images")
    (root / "minio" / "bucket" / "hyperparameters").write_text("{}")
    return root


@pytest.fixture
def message(tmp_path: Path) -> dict[str, Any]:
    def held(*names: str) -> dict[str, Any]:
        bucket = tmp_path / "shared" / "minio" / "bucket"
        return {"artifacts": {name: {"artifacts": [{"uri": str(bucket / name)}]} for name in names}}

    return {"inputs": held("examples", "hyperparameters"), "outputs": held("run1/model")}


def test_shared_volume_copies_inputs_before_and_outputs_after(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    shared = tmp_path / "shared" / "minio" / "bucket"
    with shared_volume(message):
        assert (shared / "examples" / "train" / "a.gz").read_text() == "images"
        assert (shared / "hyperparameters").read_text() == "{}"
        (shared / "run1" / "model").mkdir()  # its parent exists
        (shared / "run1" / "model" / "saved_model.pb").write_text("graph")
        assert not (pod / "minio" / "bucket" / "run1").exists()
    assert (pod / "minio" / "bucket" / "run1" / "model" / "saved_model.pb").read_text() == "graph"


def test_shared_volume_removes_outputs_of_a_killed_attempt(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    model = tmp_path / "shared" / "minio" / "bucket" / "run1" / "model"
    model.mkdir(parents=True)
    (model / "of-a-killed-attempt").touch()
    with shared_volume(message):
        model.mkdir()
        (model / "saved_model.pb").touch()
    uploaded = pod / "minio" / "bucket" / "run1" / "model"
    assert [path.name for path in uploaded.iterdir()] == ["saved_model.pb"]


def test_shared_volume_keeps_outputs_of_a_failed_node(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError), shared_volume(message):
        (tmp_path / "shared" / "minio" / "bucket" / "run1" / "model").mkdir()
        raise RuntimeError
    assert not (pod / "minio" / "bucket" / "run1").exists()


def test_shared_volume_replaces_incomplete_copies_only(
    pod: Path, message: dict[str, Any], tmp_path: Path
) -> None:
    examples = tmp_path / "shared" / "minio" / "bucket" / "examples" / "train"
    examples.mkdir(parents=True)
    (examples / "a.gz").write_text("imag")
    with shared_volume(message):
        pass
    whole = (examples / "a.gz").stat()
    with shared_volume(message), (examples / "a.gz").open() as reading:
        assert os.fstat(reading.fileno()).st_ino == whole.st_ino
    assert [path.name for path in examples.iterdir()] == ["a.gz"]


def test_shared_volume_logs_the_copied_bytes(
    pod: Path, message: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with caplog.at_level("INFO"), shared_volume(message):
            (tmp_path / "shared" / "minio" / "bucket" / "run1" / "model").write_bytes(bytes(2500))
    assert [record.getMessage() for record in caplog.records] == [
        "shared volume: 8 bytes of inputs copied, 0 were there already",
        "shared volume: 2500 bytes of outputs copied, 0 were there already",
        "shared volume: 0 bytes of inputs copied, 8 were there already",
        "shared volume: 0 bytes of outputs copied, 2500 were there already",
    ]


def test_shared_volume_without_variable_copies_nothing(
    message: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KNET_SHARED_DIR", raising=False)
    with shared_volume(message):
        assert not (tmp_path / "shared").exists()


def test_local_path_is_on_the_shared_volume() -> None:
    code = (
        "import json; from pipeline.kubeflow.artifact_uris import local_path, remote_uri;"
        "there = local_path('minio://b/k'); print(json.dumps([there, remote_uri(there)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KNET_SHARED_DIR": "/shared", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["/shared/minio/b/k", "minio://b/k"]


def test_check_environment_refuses_the_old_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KNET_EXCHANGE", raising=False)
    check_environment()
    monkeypatch.setenv("KNET_EXCHANGE", "/exchange")
    with pytest.raises(
        UserError, match="KNET_EXCHANGE is set, which is called KNET_SHARED_DIR now"
    ) as caught:
        check_environment()
    assert "\n" not in str(caught.value)
