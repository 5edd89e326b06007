"""`model-sync.sh` copies pushed versions atomically, and removes withdrawn ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from knet.serving.model_store import push_version, rollback, rollback_target

SCRIPT = Path(__file__).resolve().parents[2] / "k8s" / "base" / "serving" / "model-sync.sh"
DEFAULT = 'model_config_list { config { name: "knet"\n base_path: "/models/knet"\n } }\n'


class Folders:
    def __init__(self, root: Path) -> None:
        self.source, self.target = root / "pushed" / "knet", root / "models" / "knet"
        self.config = root / "default.config"
        self.source.mkdir(parents=True)
        self.config.write_text(DEFAULT)

    def push(self, version: str, content: str = "graph") -> None:
        folder = self.source / version
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(content)
        (folder / "variables" / "variables.index").write_text("weights")

    def sync(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", SCRIPT, self.source, self.target, self.config],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    @property
    def served(self) -> set[str]:
        return {path.name for path in self.target.iterdir()} if self.target.is_dir() else set()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_model_sync_copies_versions_only(folders: Folders) -> None:
    folders.push("17")
    folders.push("18")
    folders.push(".pushing-x")
    folders.push("19-old")
    (folders.source / "20").mkdir()  # has no graph yet
    assert folders.sync().returncode == 0
    assert folders.served == {"17", "18"}
    assert (folders.target / "18" / "variables" / "variables.index").read_text() == "weights"
    assert (folders.target.parent / ".synced").exists()


def test_model_sync_removes_withdrawn_versions_only(folders: Folders) -> None:
    folders.push("17")
    folders.push("18")
    folders.sync()
    before = (folders.target / "17" / "saved_model.pb").stat()
    (folders.source / "18").rename(folders.source / ".withdrawn-18")
    assert folders.sync().returncode == 0
    assert folders.served == {"17"}
    assert (folders.target / "17" / "saved_model.pb").stat().st_mtime_ns == before.st_mtime_ns


def test_model_sync_before_the_first_push(folders: Folders) -> None:
    done = folders.sync()
    assert done.returncode == 0 and "no version" in done.stdout
    assert not (folders.target.parent / ".synced").exists()


def test_model_sync_keeps_versions_without_source(folders: Folders) -> None:
    folders.push("17")
    folders.sync()
    (folders.source / "17").rename(folders.source.parent / "elsewhere")
    assert folders.sync().returncode == 0
    assert folders.served == {"17"}
    folders.source.rmdir()
    assert folders.sync().returncode != 0
    assert folders.served == {"17"}


def test_model_sync_discards_a_corrupt_copy(folders: Folders, tmp_path: Path) -> None:
    folders.push("17")
    programs = tmp_path / "bin"
    programs.mkdir()
    copy = programs / "cp"  # one that loses the end of every file
    copy.write_text('#!/bin/sh\n/bin/cp "$@" && find "$3" -type f -exec truncate -s 2 {} +\n')
    copy.chmod(0o755)
    done = folders.sync(PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert folders.served == set()
    assert folders.sync().returncode == 0
    assert folders.served == {"17"}


def test_model_sync_discards_the_copy_of_a_killed_round(folders: Folders) -> None:
    folders.push("17")
    left = folders.target.parent / ".incoming" / "17"
    left.mkdir(parents=True)
    (left / "saved_model.pb").write_text("half")
    assert folders.sync().returncode == 0
    assert (folders.target / "17" / "saved_model.pb").read_text() == "graph"
    assert not left.exists()


def test_model_sync_copies_labels(folders: Folders) -> None:
    folders.push("17")
    folders.sync()
    config = folders.target.parent / "models.config"
    assert config.read_text() == DEFAULT.replace("/models/knet", str(folders.target))
    labelled = 'config { name: "knet" base_path:"/elsewhere"\n version_labels { key: "stable" value: 17 } }'
    (folders.source / "models.config").write_text(labelled)
    folders.sync()
    assert config.read_text().splitlines() == [
        f'config {{ name: "knet" base_path: "{folders.target}"',
        ' version_labels { key: "stable" value: 17 } }',
    ]


def test_model_sync_follows_push_and_rollback(folders: Folders, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_text("graph")
    first, second = (push_version(model, folders.source) for _ in range(2))
    assert folders.sync().returncode == 0
    assert folders.served == {first, second}
    assert rollback(folders.source, rollback_target(folders.source)) == [int(second)]
    assert folders.sync().returncode == 0
    assert folders.served == {first}
    config = (folders.target.parent / "models.config").read_text()
    assert f'base_path: "{folders.target}"' in config
    assert config.count(f"value: {first}") == 2 and second not in config  # of the labels


def test_model_sync_continues_after_a_failed_round(folders: Folders) -> None:
    process = subprocess.Popen(
        ["sh", SCRIPT, folders.source / "missing", folders.target, folders.config, "0.1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = [process.stderr.readline() for _ in range(4)]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert sum("this round failed" in line for line in said) == 2
