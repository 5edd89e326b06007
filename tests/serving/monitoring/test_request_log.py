"""What is noted of a request, and what is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from serving.monitoring.pseudonym import pseudonym
from serving.monitoring.read_log import read_log
from serving.monitoring.request_log import RequestLog
from serving.prediction import Prediction

KEY = b"0123456789abcdef"
ANSWER = Prediction("malignant", 0.75, {"benign": 0.25, "malignant": 0.75}, 7, False, ("blurred",), 4.5)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.iterdir()) for line in file.open(encoding="utf-8")]


def test_a_line_has_the_scalars_and_the_hash_of_the_image(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    image = picture(colour=(200, 100, 150))
    RequestLog(tmp_path).note(image, ANSWER)
    (line,) = lines(tmp_path)
    assert datetime.now(timezone.utc) - datetime.fromisoformat(line["time"]) < timedelta(minutes=1)
    assert line["image_sha256"] == hashlib.sha256(image).hexdigest()
    expected = {
        "version": 7, "patient": None, "label": "malignant", "score": 0.75, "distance": 4.5,
        "in_distribution": False, "reasons": ["blurred"], "unusable": None, "image/width": 40,
        "image/height": 32, "image/mean_red": 200, "image/std_blue": 0, "image/laplacian": 0,
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected


def test_a_patient_is_noted_by_a_keyed_hash_and_only_with_a_key(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    RequestLog(tmp_path / "with", key=KEY).note(picture(), ANSWER, patient="14-22549")
    RequestLog(tmp_path / "without").note(picture(), ANSWER, patient="14-22549")
    assert lines(tmp_path / "with")[0]["patient"] == pseudonym("14-22549", key=KEY)
    assert lines(tmp_path / "without")[0]["patient"] is None
    texts = [file.read_text("utf-8") for file in tmp_path.rglob("*.jsonl")]
    assert not any("22549" in text for text in texts)


def test_images_are_stored_where_that_is_asked_for_alone(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    image = picture()
    RequestLog(tmp_path / "log").note(image, ANSWER)
    assert not any(image in file.read_bytes() for file in (tmp_path / "log").iterdir())
    RequestLog(tmp_path / "log", keep_images=tmp_path / "kept").note(image, ANSWER)
    (kept,) = (tmp_path / "kept").iterdir()
    assert (kept.stem, kept.read_bytes()) == (lines(tmp_path / "log")[0]["image_sha256"], image)


def test_what_is_written_is_read_back(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    log = RequestLog(tmp_path, key=KEY)
    log.note(picture(), ANSWER, patient="14-1")
    log.note(picture("L"), ANSWER)  # which was not measured
    log.close()
    read = read_log([tmp_path])
    assert read.broken == ()
    assert read.frame["unusable"].tolist() == [None, "not 8-bit RGB but grey"]
    assert read.frame["image/width"].tolist() == pytest.approx([40, float("nan")], nan_ok=True)
    assert read.frame["reasons"].tolist() == [["blurred"], ["blurred"]]
