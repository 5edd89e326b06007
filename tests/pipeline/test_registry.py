"""What is remembered between runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.registry import ProductionModel, RunRegistry
from pipeline.run_record import RunRecord

MakeRecord = Callable[..., RunRecord]
REFUSED = {"refusals": ("accuracy is too low",), "pushed_version": None, "pushed_folder": None}
FAILED = {"winner": None, "pushed_version": None, "pushed_folder": None, "error": "Transform: no space left"}


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "registry")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_spans_count_the_data_that_were_seen(registry: RunRegistry) -> None:
    assert [registry.span(seen) for seen in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]


def test_spans_are_remembered(registry: RunRegistry, tmp_path: Path) -> None:
    registry.span("a")
    assert RunRegistry(tmp_path / "registry").span("b") == 2
    assert RunRegistry(tmp_path / "another").span("b") == 1


def test_before_the_first_run_there_is_no_production_model(registry: RunRegistry) -> None:
    assert registry.production() is None


def test_a_pushed_model_is_the_production_model(registry: RunRegistry, make_record: MakeRecord) -> None:
    registry.record(make_record())
    assert registry.production() == ProductionModel(
        version="1706702400",
        folder=Path("runs/demo/serving/knet/1706702400"),
        candidate="mobilenet",
        run_id="20240131-120000",
    )


def test_a_second_push_replaces_the_first(registry: RunRegistry, make_record: MakeRecord) -> None:
    registry.record(make_record())
    registry.record(make_record(run_id="20240201-120000", winner="vgg16", pushed_version="2"))
    production = registry.production()
    assert production is not None
    assert (production.run_id, production.candidate, production.version) == ("20240201-120000", "vgg16", "2")


@pytest.mark.parametrize("outcome", [REFUSED, FAILED], ids=["refused", "failed"])
def test_a_run_that_pushed_nothing_leaves_production_alone(
    registry: RunRegistry, make_record: MakeRecord, outcome: dict[str, object]
) -> None:
    registry.record(make_record())
    before = registry.production()
    registry.record(make_record(run_id="20240201-120000", **outcome))
    assert registry.production() == before


@pytest.mark.parametrize("outcome", [{}, REFUSED, FAILED], ids=["pushed", "refused", "failed"])
def test_every_run_is_kept_in_a_file_of_its_own(
    registry: RunRegistry, make_record: MakeRecord, outcome: dict[str, object], tmp_path: Path
) -> None:
    path = registry.record(make_record(**outcome))
    assert path == tmp_path / "registry" / "runs" / "20240131-120000.json"
    kept = json.loads(path.read_text("utf-8"))
    assert (kept["error"], kept["pushed_version"]) == (
        outcome.get("error"),
        outcome.get("pushed_version", "1706702400"),
    )


def test_earlier_runs_stay(registry: RunRegistry, make_record: MakeRecord, tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        registry.record(make_record(run_id=run_id))
    assert files(tmp_path / "registry" / "runs") == {"a.json", "b.json"}


def test_an_undefined_metric_is_null(registry: RunRegistry, make_record: MakeRecord) -> None:
    record = make_record()
    undefined = replace(record.candidates["vgg16"], metrics={"test": {"roc_auc": math.nan, "accuracy": 0.5}})
    path = registry.record(make_record(candidates={"vgg16": undefined}))
    assert "NaN" not in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["candidates"]["vgg16"]["metrics"]["test"] == {
        "roc_auc": None,
        "accuracy": 0.5,
    }


def test_nothing_but_the_records_is_left(
    registry: RunRegistry, make_record: MakeRecord, tmp_path: Path
) -> None:
    registry.record(make_record())
    assert files(tmp_path) == {"registry/production.json", "registry/runs/20240131-120000.json"}


def test_a_crash_before_a_file_is_whole_leaves_the_old_one(
    registry: RunRegistry, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("power cut")

    path = registry.record(make_record())
    before = path.read_text("utf-8"), registry.production()
    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        registry.record(make_record(winner="vgg16"))
    assert (path.read_text("utf-8"), registry.production()) == before
