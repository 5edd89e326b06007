"""Pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from knet.report.inputs import picture, thumbnail, verdict
from knet.runs.record import RunRecord


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


def test_a_large_image_becomes_small_and_keeps_its_shape(picture: Callable[..., bytes]) -> None:
    small = opened(thumbnail(picture(size=(700, 460)), longest=140))
    assert (small.format, small.size) == ("JPEG", (140, 92))


def test_a_small_image_is_not_enlarged(picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(size=(40, 32)), longest=140)).size == (40, 32)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_any_mode_can_be_shown(mode: str, picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(mode=mode), longest=20)).mode == "RGB"


def test_the_address_holds_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32), "red").save(tmp_path / "a.png")
    kind, _, content = picture(tmp_path / "a.png", longest=32).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert opened(base64.b64decode(content)).size == (32, 16)


MakeRecord = Callable[..., RunRecord]


def test_a_pushed_run_names_winner_version_and_why(make_record: MakeRecord) -> None:
    found = verdict(make_record(choice="highest accuracy"))
    assert found.word == "pushed"
    assert found.why == "mobilenet is served as version 1706702400: highest accuracy"


def test_a_refused_run_gives_every_reason_in_one_line(make_record: MakeRecord) -> None:
    found = verdict(make_record(refusals=("recall is 0.1", "f1 is 0.2"), pushed_version=None))
    assert (found.word, found.why) == ("refused", "mobilenet was not pushed: recall is 0.1; f1 is 0.2")


def test_a_failed_run_gives_the_error(make_record: MakeRecord) -> None:
    found = verdict(make_record(error="Transform: no space left", pushed_version=None))
    assert (found.word, found.why) == ("failed", "Transform: no space left")


def test_a_winner_that_a_server_did_not_answer_with_is_refused(make_record: MakeRecord) -> None:
    found = verdict(make_record(pushed_version=None))
    assert found.word == "refused" and "the server" in found.why
