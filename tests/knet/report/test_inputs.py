"""Inputs of the report page: images and verdict."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from knet.report.inputs import image_url, thumbnail, verdict
from knet.runs.record import RunRecord


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


def test_thumbnail_keeps_the_aspect_ratio(picture: Callable[..., bytes]) -> None:
    small = opened(thumbnail(picture(size=(700, 460)), max_side=140))
    assert (small.format, small.size) == ("JPEG", (140, 92))


def test_thumbnail_does_not_enlarge(picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(size=(40, 32)), max_side=140)).size == (40, 32)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_thumbnail_of_any_mode_is_rgb(mode: str, picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(mode=mode), max_side=20)).mode == "RGB"


def test_image_url_contains_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32), "red").save(tmp_path / "a.png")
    kind, _, content = image_url(tmp_path / "a.png", max_side=32).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert opened(base64.b64decode(content)).size == (32, 16)


MakeRecord = Callable[..., RunRecord]


def test_verdict_pushed_names_winner_version_and_reason(make_record: MakeRecord) -> None:
    found = verdict(make_record(choice="highest accuracy"))
    assert found.word == "pushed"
    assert found.why == "mobilenet is served as version 1706702400: highest accuracy"


def test_verdict_not_pushed_has_every_reason_in_one_line(make_record: MakeRecord) -> None:
    found = verdict(make_record(refusals=("recall is 0.1", "f1 is 0.2"), pushed_version=None))
    assert (found.word, found.why) == ("not pushed", "mobilenet: recall is 0.1; f1 is 0.2")


def test_verdict_failed_has_the_error(make_record: MakeRecord) -> None:
    found = verdict(make_record(error="Transform: no space left", pushed_version=None))
    assert (found.word, found.why) == ("failed", "Transform: no space left")


def test_verdict_without_infra_blessing_is_not_pushed(make_record: MakeRecord) -> None:
    found = verdict(make_record(pushed_version=None))
    assert found.word == "not pushed" and "infra validation" in found.why
