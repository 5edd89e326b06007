"""Cache files: listed, and removed after some days without use."""

from __future__ import annotations

import os
import time
from pathlib import Path

from knet.base.storage import Store, open_store
from knet.runs.caches import cache_files, remove_unused_files

DAY = 24 * 60 * 60


def write(path: Path, *, read: float, written: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    os.utime(path, (time.time() - read * DAY, time.time() - written * DAY))
    return path


def caches(root: Path) -> dict[str, Store]:
    return {"feature maps": open_store(root / "maps"), "checkpoint": open_store(root / "checkpoints")}


def test_remove_unused_files_by_days_since_last_use(tmp_path: Path) -> None:
    old = write(tmp_path / "maps/old.tfrecord", read=9, written=9)
    read = write(tmp_path / "maps/read.tfrecord", read=1, written=9)
    abandoned = write(tmp_path / "checkpoints/vgg16/.state.npz.part", read=20, written=8)
    running = write(tmp_path / "checkpoints/vgg16/other.npz", read=20, written=0)
    model = write(tmp_path / "artifacts/model", read=99, written=99)

    found = [(file.location, file.kind, file.size) for file in cache_files(caches(tmp_path))]
    assert found[:2] == [(str(old), "feature maps", 10), (str(abandoned), "checkpoint", 10)]
    removed = remove_unused_files(caches(tmp_path), days=7)
    assert [file.location for file in removed] == [str(old), str(abandoned)]
    assert [path.exists() for path in (old, abandoned)] == [False, False]
    assert all(path.exists() for path in (read, running, model))
    removed = remove_unused_files(caches(tmp_path), days=0)
    assert {file.location for file in removed} == {str(read), str(running)}
    assert model.exists()


def test_cache_files_without_folders_are_none(tmp_path: Path) -> None:
    assert cache_files(caches(tmp_path / "none")) == []


def test_searches_are_removed_whole(tmp_path: Path) -> None:
    searches = tmp_path / "checkpoints/searches/vgg16"
    for search, used in (("old", 9), ("resumed", 0)):
        write(searches / search / "oracle.json", read=9, written=9)
        write(searches / search / "trial_0/trial.json", read=used, written=used)
    found = [(file.location, file.kind, file.size) for file in cache_files(caches(tmp_path))]
    assert found == [(str(searches / "old"), "search", 20), (str(searches / "resumed"), "search", 20)]
    removed = remove_unused_files(caches(tmp_path), days=7)
    assert [file.location for file in removed] == [str(searches / "old")]
    assert sorted(path.name for path in searches.rglob("*") if path.is_file()) == [
        "oracle.json",
        "trial.json",
    ]
