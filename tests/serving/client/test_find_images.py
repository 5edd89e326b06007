"""The images of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from serving.client import find_images


def test_images_are_found_below_in_order_and_others_are_counted(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "b/c/y.jpeg", "a.jpg", "notes.txt", "c.tif", ".hidden/z.png", "b/.z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    images, others = find_images(tmp_path)
    assert images == [tmp_path / name for name in ("a.jpg", "b/c/y.jpeg", "b/x.PNG")]
    assert others == 2


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "c.tif").touch()
    with pytest.raises(UserError, match=f"{tmp_path} holds no PNG or JPEG file"):
        find_images(tmp_path)
    with pytest.raises(UserError, match=r"none: No such file or directory; give a folder that can be read"):
        find_images(tmp_path / "none")
