"""An image's columns."""

from __future__ import annotations

import pytest

from knet.data.source import ImageFile

IMAGE = ImageFile("a.png", "benign", "14-1", (("magnification", "40X"), ("stain", "HE")))


def test_a_column_is_found_by_name() -> None:
    assert IMAGE.column("stain") == "HE"


def test_a_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="subtype"):
        IMAGE.column("subtype")


def test_images_are_ordered_by_path() -> None:
    assert sorted([IMAGE, ImageFile("A.png", "malignant", "14-2")])[0].path == "A.png"
