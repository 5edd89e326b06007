"""Inputs that are gone from the object store, and the cache generations that they start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.kubeflow import artifact_uris
from pipeline.kubeflow.deleted_artifacts import (
    cache_generation,
    check_inputs,
    count_files,
    start_cache_generation,
)
from pipeline.kubeflow.run_nodes import run_node

_URI = "minio://bucket/run/Transform/1/transformed_examples"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(artifact_uris, "MOUNTS", {"minio://": f"{tmp_path}/minio/"})
    monkeypatch.delenv("KNET_SHARED_DIR", raising=False)
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    monkeypatch.setenv("KNET_NODE", "Trainer-vgg16")
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path / "registry"))
    return tmp_path / "registry"


@pytest.fixture
def folder(registry: Path) -> Path:
    """Return the launcher's copy of an artifact of two files."""
    copy = registry.with_name("minio") / _URI.removeprefix("minio://")
    for name in ("train", "test"):
        (copy / name).mkdir(parents=True)
        (copy / name / "a.gz").write_bytes(b"")
    return copy


def _message(**metadata: float) -> dict[str, Any]:
    artifact = {"name": "1", "uri": _URI, "metadata": metadata}
    return {"inputs": {"artifacts": {"transformed_examples": {"artifacts": [artifact]}}}}


def test_count_files_of_folders_and_files(folder: Path) -> None:
    assert count_files(folder) == 2 and count_files(folder / "train" / "a.gz") == 1
    assert count_files(folder / "missing") == 0


def test_check_inputs_accepts_complete_artifacts(registry: Path, folder: Path) -> None:
    check_inputs(_message(files=2.0))
    assert cache_generation(registry) == ""


@pytest.mark.parametrize("metadata", [{"files": 0.0}, {}])
def test_check_inputs_accepts_empty_and_uncounted_artifacts(registry: Path, metadata: dict[str, Any]) -> None:
    check_inputs(_message(**metadata))


def test_check_inputs_names_what_is_missing_and_where(registry: Path, folder: Path) -> None:
    (folder / "train" / "a.gz").unlink()
    with pytest.raises(UserError) as raised:
        check_inputs(_message(files=2.0))
    assert f"transformed_examples (1 of 2 files at {_URI})" in str(raised.value)
    assert "\n" not in str(raised.value)
    note = registry / "generations" / "run-1" / "Trainer-vgg16.json"
    assert json.loads(note.read_text("utf-8")) == {"reason": str(raised.value)}


def test_check_inputs_names_them_without_a_registry(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.write_text("a file", "utf-8")
    with pytest.raises(UserError, match="0 of 2 files"):
        check_inputs(_message(files=2.0))


def test_check_inputs_looks_at_the_launcher_copies(
    registry: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A complete copy on the shared volume does not hide that the launcher found nothing."""
    shared = registry.with_name("minio")
    monkeypatch.setenv("KNET_SHARED_DIR", str(shared.parent))
    monkeypatch.setattr(artifact_uris, "LAUNCHER_ROOT", str(shared.with_name("pod")))
    with pytest.raises(UserError, match="0 of 2 files"):
        check_inputs(_message(files=2.0))


def test_cache_generation_changes_once_for_each_run(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_cache_generation(registry, reason="deleted")
    first = cache_generation(registry)
    monkeypatch.setenv("KNET_NODE", "Trainer-mobilenet")
    start_cache_generation(registry, reason="deleted")
    assert cache_generation(registry) == first
    monkeypatch.setenv("KFP_RUN_ID", "run-0")
    start_cache_generation(registry, reason="deleted")
    assert cache_generation(registry) not in ("", first)


def test_run_node_checks_inputs_before_its_work(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called: list[object] = []
    with pytest.raises(SystemExit):
        run_node(called.append, ["--executor_input", json.dumps(_message(files=2.0))])
    assert not called
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("error: UserError: input artifacts were deleted")
    )
