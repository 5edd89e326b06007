"""A cached push is made true again where the served folder no longer agrees with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from knet.serving.models_config import newest_version
from pipeline.runners.lifecycle import republish_if_missing


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("a model")
    return folder


def push(served: Path, version: str) -> None:
    (served / version).mkdir(parents=True)
    (served / version / "saved_model.pb").write_text("another model")


def test_the_newest_version_is_left_alone(tmp_path: Path, archive: Path) -> None:
    push(tmp_path / "served", "7")
    assert republish_if_missing(tmp_path / "served", version="7", archive=archive) == "7"
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["7"]


def test_a_model_pushed_since_is_superseded(tmp_path: Path, archive: Path) -> None:
    served, newer = tmp_path / "served", str(10**12)
    push(served, "7")
    push(served, newer)
    version = republish_if_missing(served, version="7", archive=archive)
    assert version is not None
    assert int(version) == int(newer) + 1
    assert newest_version(served) == served / version
    assert (served / version / "saved_model.pb").read_text() == "a model"


def test_a_removed_folder_is_filled_again(tmp_path: Path, archive: Path) -> None:
    served = tmp_path / "served"
    version = republish_if_missing(served, version="7", archive=archive)
    assert {path.name for path in served.iterdir()} == {version, "models.config", ".lock"}


def test_an_interrupted_copy_leaves_no_version(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(shutil, "copytree", interrupted)
    with pytest.raises(OSError, match="disk full"):
        republish_if_missing(tmp_path / "served", version="7", archive=archive)
    assert newest_version(tmp_path / "served") is None
