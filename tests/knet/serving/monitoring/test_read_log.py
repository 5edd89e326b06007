"""Tests of reading request logs with broken lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.monitoring.read_log import MEASURED, BrokenLine, read_log

GOOD: dict[str, Any] = {
    "time": "2024-01-31T12:00:00.000+00:00",
    "version": 7,
    "image_sha256": "0123456789abcdef" * 4,
    "patient": None,
    "label": "benign",
    "score": 0.25,
    "distance": 3.5,
    "in_distribution": True,
    "reasons": [],
    "unusable": None,
    **dict.fromkeys(MEASURED, 0.5),
}


def text(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes}) + "\n"


def test_read_log_reads_files_once_sorted_by_time(tmp_path: Path) -> None:
    first, second = tmp_path / "2024-01-31.jsonl", tmp_path / "2024-02-01.jsonl"
    second.write_text(text(time="2024-02-01T00:00:00Z"), encoding="utf-8")
    first.write_text(text(time="2024-01-31T23:00:00Z") + text(), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no log", encoding="utf-8")
    frame = read_log([second, tmp_path]).frame
    assert frame["time"].dt.hour.tolist() == [12, 23, 0]
    assert frame[schema_names.LAPLACIAN].tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{half\n", "Invalid JSON: key must be a string at line 1 column 2"),
        ("[]\n", "Input should be an object"),
        ("\n", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (text()[:-1], "truncated"),
        (text(score=1.5), "score: Input should be less than or equal to 1"),
        (text(score=float("nan")), "score: Input should be"),
        (text(version="seven"), "version: Input should be a valid integer, unable to parse string"),
        (text(image_sha256="abc"), "image_sha256: String should match pattern"),
        (text(further=1), "measured features differ from those of this release: further"),
        (
            text(**{schema_names.LAPLACIAN: "much"}),
            f"{schema_names.LAPLACIAN}: Input should be a valid number",
        ),
        (json.dumps({"time": "2024-01-31T12:00:00Z"}) + "\n", "version: Field required"),
    ],
)
def test_read_log_lists_broken_lines_and_reads_others(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "2024-01-31.jsonl"
    file.write_text(text() + text() + line, encoding="utf-8")
    read = read_log([file])
    (broken,) = read.broken
    assert (broken.file, broken.line) == (file, 3)
    assert broken.reason.startswith(reason)
    assert len(read.frame) == 2


def test_read_log_binary_line_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xff\xfe\x00\n" + text().encode())
    read = read_log([file])
    assert [line.line for line in read.broken] == [1] and len(read.frame) == 1


def test_read_log_without_valid_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none is missing; name a log file, or its folder"):
        read_log([tmp_path / "none"])
    with pytest.raises(UserError, match=r"there is no file \*\.jsonl"):
        read_log([tmp_path])
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(UserError, match=r"no request in .*: 0 broken lines and no valid one$"):
        read_log([tmp_path])
    (tmp_path / "a.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"1 broken lines and no valid one; .*a\.jsonl:1: time: Field req"):
        read_log([tmp_path])


def test_of_version_selects_one_version(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(text() + text(version=8) + "{\n", encoding="utf-8")
    read = read_log([file])
    assert read.of_version(8).frame["version"].tolist() == [8]
    assert read.of_version(8).broken == read.broken == (BrokenLine(file, 3, read.broken[0].reason),)
    with pytest.raises(UserError, match=r"--version 9: the log has no request of this version, but of 7, 8"):
        read.of_version(9)
