"""The workspace and its cache files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from knet.runs.workspace import Workspace, cache_files, remove_unused_files

DAY = 24 * 60 * 60


def write(path: Path, *, read: float, written: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    os.utime(path, (time.time() - read * DAY, time.time() - written * DAY))
    return path


def test_remove_unused_files_by_days_since_last_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    old = write(workspace.feature_maps / "old.tfrecord", read=9, written=9)
    read = write(workspace.feature_maps / "read.tfrecord", read=1, written=9)
    abandoned = write(workspace.checkpoints / "vgg16" / "state.npz", read=20, written=8)
    running = write(workspace.checkpoints / "vgg16" / "other.npz", read=20, written=0)
    model = write(workspace.root / "artifacts" / "model", read=99, written=99)

    found = [(file.path, file.kind, file.size) for file in cache_files(workspace)]
    assert found[:2] == [(old, "feature maps", 10), (abandoned, "checkpoint", 10)]
    assert {file.path for file in remove_unused_files(workspace, days=7)} == {old, abandoned}
    assert [path.exists() for path in (old, abandoned, read, running, model)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert {file.path for file in remove_unused_files(workspace, days=0)} == {read, running}
    assert model.exists()


def test_cache_files_of_new_workspace_are_none(tmp_path: Path) -> None:
    assert cache_files(Workspace(tmp_path / "none")) == []
