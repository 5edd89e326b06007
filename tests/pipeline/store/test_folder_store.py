"""A folder as a store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.store.folder_store import FolderStore
from pipeline.store.open_store import open_store


def test_what_is_written_is_read_and_listed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new")
    assert isinstance(store, FolderStore)
    assert store.read("runs/a.json") is None and store.names("runs/") == []
    for name in ("runs/b.json", "runs/a.json", "other.json"):
        store.write(name, name.encode())
    assert store.names("runs/") == ["runs/a.json", "runs/b.json"]
    assert store.read("runs/a.json") == b"runs/a.json" == store.location("runs/a.json").read_bytes()


def test_of_many_writers_one_stays_whole(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    contents = [bytes([number]) * 200_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: store.write("file", content), contents))
    assert store.read("file") in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
