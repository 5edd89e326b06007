"""File names of heat maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.overlays import overlay_files


def test_overlay_files_follow_the_folders_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = [Path("in/a/x.png"), Path("in/a/x.jpg"), tmp_path / "in" / "b" / "x.png"]
    names = ["a/x.png.heat.png", "a/x.jpg.heat.png", "b/x.png.heat.png"]
    assert list(overlay_files(images, Path("out")).values()) == [Path("out", name) for name in names]
    assert overlay_files([Path("x.png")], Path("out")) == {Path("x.png"): Path("out/x.png.heat.png")}
