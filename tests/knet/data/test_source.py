"""Image files and their columns."""

from __future__ import annotations

import pytest

from knet.data.source import ImageFile

IMAGE = ImageFile("a.png", "benign", "14-1", (("magnification", "40X"), ("stain", "HE")))


def test_image_file_column_by_name() -> None:
    assert IMAGE.column("stain") == "HE"


def test_image_file_without_the_column_raises() -> None:
    with pytest.raises(KeyError, match="subtype"):
        IMAGE.column("subtype")


def test_image_files_are_ordered_by_path() -> None:
    assert sorted([IMAGE, ImageFile("A.png", "malignant", "14-2")])[0].path == "A.png"
