"""Records of runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.runs.record import RunRecord, read_record

MakeRecord = Callable[..., RunRecord]


def test_read_record_round_trip(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record(examples=Path("/examples"), refusals=("a", "b"))
    (tmp_path / "record.json").write_text(record.to_json(), encoding="utf-8")
    assert read_record(tmp_path / "record.json") == record


def test_read_record_undefined_metrics_are_nan(make_record: MakeRecord, tmp_path: Path) -> None:
    candidate = replace(
        make_record().candidates["vgg16"],
        metrics={"test": {"roc_auc": math.nan}},
        intervals={"test": {"roc_auc": (math.nan, math.nan)}},
    )
    text = make_record(candidates={"vgg16": candidate}).to_json()
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    read = read_record(tmp_path / "record.json").candidates["vgg16"]
    assert math.isnan(read.metrics["test"]["roc_auc"])
    assert all(map(math.isnan, read.intervals["test"]["roc_auc"]))


def test_read_record_translates_renamed_settings(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record()
    tree = json.loads(record.to_json())
    tree["config"]["gate"]["insufficient"] = "refuse"
    del tree["config"]["gate"]["on_insufficient_data"]
    tree["config"]["data"]["max_bad_share"] = tree["config"]["data"].pop("max_invalid_fraction")
    (tmp_path / "record.json").write_text(json.dumps(tree), encoding="utf-8")
    assert read_record(tmp_path / "record.json") == record


def test_read_record_translates_renamed_counts(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record(ingest={"excluded_duplicates": ["a.png"], "ignored_files": ["README.txt"]})
    tree = json.loads(record.to_json())
    tree["data"]["left_out"] = tree["data"].pop("excluded_duplicates")
    tree["ingest"] = {"left_out": ["a.png"], "passed_over": ["README.txt"]}
    (tmp_path / "record.json").write_text(json.dumps(tree), encoding="utf-8")
    assert read_record(tmp_path / "record.json") == record


def test_read_record_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: No such file"):
        read_record(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"candidates": {"a": 1}}'])
def test_read_record_other_content_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"record\.json is no record of a run by this version"):
        read_record(tmp_path / "record.json")


def test_read_record_of_other_version_names_the_missing_field(
    make_record: MakeRecord, tmp_path: Path
) -> None:
    tree = json.loads(make_record().to_json())
    del tree["data"]["source"]
    (tmp_path / "record.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.source"):
        read_record(tmp_path / "record.json")
