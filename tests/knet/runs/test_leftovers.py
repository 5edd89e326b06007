"""Leftovers of killed runs."""

from __future__ import annotations

from pathlib import Path

from knet.runs.leftovers import temporary_files, unfinished_outputs
from knet.runs.workspace import Workspace


def _write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_temporary_files_are_the_unfinished_ones(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    part = _write(workspace.feature_maps / f".a.tfrecord.{'0' * 32}.tmp")
    _write(workspace.feature_maps / "b.tfrecord")
    assert temporary_files(workspace) == [part]


def test_unfinished_outputs_are_those_of_the_executions(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    killed = _write(workspace.artifacts / "Trainer-vgg16" / "model" / "7" / "half")
    _write(workspace.artifacts / "Trainer-vgg16" / "model" / "6" / "model")
    assert unfinished_outputs(workspace, [7, 8]) == [killed.parent]
