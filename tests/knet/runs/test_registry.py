"""The run registry."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.base.storage import FolderStore
from knet.runs.record import RunRecord
from knet.runs.registry import ProductionModel, RunRegistry

MakeRecord = Callable[..., RunRecord]
NOT_PUSHED = {"refusals": ("accuracy is too low",), "pushed_version": None, "pushed_folder": None}
SCHEMA = Path("/somewhere/schema.pbtxt")
FAILED = {"winner": None, "pushed_version": None, "pushed_folder": None, "error": "Transform: no space left"}


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "registry")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_span_numbers_data_sets_in_order(registry: RunRegistry) -> None:
    assert [registry.span(seen) for seen in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]


def test_span_is_stored_in_the_registry(registry: RunRegistry, tmp_path: Path) -> None:
    registry.span("a")
    assert RunRegistry(tmp_path / "registry").span("b") == 2
    assert RunRegistry(tmp_path / "another").span("b") == 1


def test_production_before_the_first_run_is_none(registry: RunRegistry) -> None:
    assert registry.production() is None


def test_production_is_the_pushed_model(registry: RunRegistry, make_record: MakeRecord) -> None:
    registry.record(make_record())
    assert registry.production() == ProductionModel(
        version="1706702400",
        folder=Path("runs/demo/serving/knet/1706702400"),
        candidate="mobilenet",
        run_id="20240131-120000",
    )


def test_production_is_the_last_pushed_model(registry: RunRegistry, make_record: MakeRecord) -> None:
    registry.record(make_record())
    registry.record(make_record(run_id="20240201-120000", winner="vgg16", pushed_version="2"))
    production = registry.production()
    assert production is not None
    assert (production.run_id, production.candidate, production.version) == ("20240201-120000", "vgg16", "2")


@pytest.mark.parametrize("outcome", [NOT_PUSHED, FAILED], ids=["not pushed", "failed"])
def test_record_without_push_keeps_production(
    registry: RunRegistry, make_record: MakeRecord, outcome: dict[str, object]
) -> None:
    registry.record(make_record())
    before = registry.production()
    registry.record(make_record(run_id="20240201-120000", **outcome))
    assert registry.production() == before


@pytest.mark.parametrize("outcome", [{}, NOT_PUSHED, FAILED], ids=["pushed", "not pushed", "failed"])
def test_record_writes_a_file_for_every_outcome(
    registry: RunRegistry, make_record: MakeRecord, outcome: dict[str, object], tmp_path: Path
) -> None:
    path = registry.record(make_record(**outcome))
    assert path == tmp_path / "registry" / "runs" / "20240131-120000.json"
    stored = json.loads(path.read_text("utf-8"))
    assert (stored["error"], stored["pushed_version"]) == (
        outcome.get("error"),
        outcome.get("pushed_version", "1706702400"),
    )


def test_record_keeps_earlier_runs(registry: RunRegistry, make_record: MakeRecord, tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        registry.record(make_record(run_id=run_id))
    assert files(tmp_path / "registry" / "runs") == {"a.json", "b.json"}


def test_runs_are_listed_oldest_first(registry: RunRegistry, make_record: MakeRecord) -> None:
    assert registry.runs() == {}
    files = {run_id: registry.record(make_record(run_id=run_id)) for run_id in ("20240102", "20240101")}
    assert list(registry.runs().items()) == sorted(files.items())


def test_record_undefined_metric_is_null(registry: RunRegistry, make_record: MakeRecord) -> None:
    record = make_record()
    undefined = replace(record.candidates["vgg16"], metrics={"test": {"roc_auc": math.nan, "accuracy": 0.5}})
    path = registry.record(make_record(candidates={"vgg16": undefined}))
    assert "NaN" not in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["candidates"]["vgg16"]["metrics"]["test"] == {
        "roc_auc": None,
        "accuracy": 0.5,
    }


def test_record_leaves_no_other_files(registry: RunRegistry, make_record: MakeRecord, tmp_path: Path) -> None:
    registry.record(make_record())
    assert files(tmp_path) == {
        "registry/production.json",
        "registry/pushed/1706702400.json",
        "registry/runs/20240131-120000.json",
    }


def test_make_production_returns_to_a_pushed_version(registry: RunRegistry, make_record: MakeRecord) -> None:
    registry.record(make_record(run_id="20240101", pushed_version="1"))
    first = registry.production()
    registry.record(make_record(run_id="20240102", pushed_version="2", winner="vgg16"))
    assert registry.pushed("1") == first != registry.production()
    registry.make_production("1")
    assert registry.production() == first
    with pytest.raises(UserError, match="pushed version 3"):
        registry.make_production("3")
    assert registry.production() == first


def test_record_crash_keeps_the_old_file(
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


@pytest.mark.parametrize("name", ["predictions/", "pushed/", "production.json", "runs/"])
def test_record_crash_before_the_end_leaves_no_record(
    registry: RunRegistry,
    make_record: MakeRecord,
    predictions: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    write = FolderStore.write

    def crash(store: FolderStore, file: str, content: bytes) -> None:
        if file.startswith(name):
            raise OSError("power cut")
        write(store, file, content)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "write", crash)
        with pytest.raises(OSError, match="power cut"):
            registry.record(make_record(), graph="g", predictions=predictions)
    assert registry.runs() == {}
    registry.record(make_record(), graph="g", predictions=predictions)
    assert len(registry.runs()) == 1 and registry.production() is not None


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """A file; the registry does not look into it."""
    file = tmp_path / "mobilenet.parquet"
    file.write_bytes(b"predictions")
    return file


def test_baseline_before_the_first_push_is_none(registry: RunRegistry, make_record: MakeRecord) -> None:
    assert registry.baseline("graph") is None
    registry.record(make_record(**NOT_PUSHED), graph="graph")
    assert registry.baseline("graph") is None


def test_baseline_is_that_of_the_model_in_production(
    registry: RunRegistry, make_record: MakeRecord, predictions: Path, tmp_path: Path
) -> None:
    registry.record(make_record(), graph="first", predictions=predictions)
    predictions.unlink()  # they were copied
    baseline = registry.baseline("second")
    assert baseline is not None
    assert baseline.version == "1706702400" and baseline.file.read_bytes() == b"predictions"
    assert baseline.file == tmp_path / "registry" / "predictions" / f"{baseline.digest}.parquet"


def test_baseline_of_repeated_run_is_that_of_the_first(
    registry: RunRegistry, make_record: MakeRecord, predictions: Path
) -> None:
    registry.record(make_record(), graph="first", predictions=predictions)
    assert registry.baseline("first") is None  # as then
    given = registry.baseline("second")
    predictions.write_bytes(b"others")
    registry.record(make_record(pushed_version="2"), graph="second", predictions=predictions, baseline=given)
    assert registry.baseline("second") == given
    later = registry.baseline("third")
    assert later is not None
    assert (later.version, later.file.read_bytes()) == ("2", b"others")
    back = registry.baseline("first")  # its model is no longer in production
    assert back == later


def test_baseline_is_kept_by_a_run_that_did_not_push(
    registry: RunRegistry, make_record: MakeRecord, predictions: Path
) -> None:
    registry.record(make_record(), graph="first", predictions=predictions)
    before = registry.baseline("second")
    registry.record(make_record(**NOT_PUSHED), graph="second", predictions=predictions, baseline=before)
    assert registry.baseline("second") == before


def test_record_stores_equal_predictions_once(
    registry: RunRegistry, make_record: MakeRecord, predictions: Path, tmp_path: Path
) -> None:
    for version in ("1", "2"):
        registry.record(make_record(pushed_version=version), graph=version, predictions=predictions)
    assert len(files(tmp_path / "registry" / "predictions")) == 1


@pytest.fixture
def statistics(tmp_path: Path) -> Path:
    """A folder as StatisticsGen leaves it."""
    for split in ("train", "test"):
        file = tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb"
        file.parent.mkdir(parents=True)
        file.write_bytes(split.encode())
    return tmp_path / "statistics"


def test_previous_statistics_before_the_first_run_are_none(registry: RunRegistry) -> None:
    assert registry.previous_statistics() is None


def test_store_statistics_copies_those_of_the_run(registry: RunRegistry, statistics: Path) -> None:
    stored = registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    assert registry.previous_statistics() == stored
    assert (stored.run_id, stored.schema) == ("a", SCHEMA)
    assert files(stored.folder) == files(statistics)
    assert (stored.folder / "Split-test" / "FeatureStats.pb").read_bytes() == b"test"


def test_store_statistics_outlive_the_artifacts(registry: RunRegistry, statistics: Path) -> None:
    stored = registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    shutil.rmtree(statistics)
    assert len(files(stored.folder)) == 2


def test_store_statistics_equal_ones_once(registry: RunRegistry, statistics: Path) -> None:
    first = registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    second = registry.store_statistics(statistics, run_id="b", schema=SCHEMA)
    assert (first.folder, first.digest) == (second.folder, second.digest)
    previous = registry.previous_statistics()
    assert previous is not None and previous.run_id == "b"


def test_store_statistics_other_ones_replace_the_previous(registry: RunRegistry, statistics: Path) -> None:
    first = registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    (statistics / "Split-test" / "FeatureStats.pb").write_bytes(b"other")
    second = registry.store_statistics(statistics, run_id="b", schema=SCHEMA)
    assert first.digest != second.digest
    assert registry.previous_statistics() == second
    assert first.folder.is_dir()


def test_store_statistics_crash_keeps_the_old_ones(
    registry: RunRegistry, statistics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("power cut")

    first = registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    (statistics / "Split-test" / "FeatureStats.pb").write_bytes(b"other")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="power cut"):
            registry.store_statistics(statistics, run_id="b", schema=SCHEMA)
    assert registry.previous_statistics() == first
    # The partial copy does not block a later one.
    assert registry.store_statistics(statistics, run_id="c", schema=SCHEMA).folder.is_dir()


def test_previous_trials_of_repeated_search_are_the_same(registry: RunRegistry, tmp_path: Path) -> None:
    def before(search: str, candidate: str = "vgg16") -> str | None:
        stored = registry.previous_trials(candidate=candidate, search=search)
        return stored.file.read_text("utf-8") if stored else None

    assert before("first") is None
    for search in ("first", "second", "first", "third"):
        (tmp_path / "trials.csv").write_text(f"of {search}", "utf-8")
        registry.store_trials(tmp_path / "trials.csv", candidate="vgg16", search=search)
    asked = [before(search) for search in ("first", "second", "third", "fourth")]
    assert asked == [None, "of first", "of second", "of third"]
    assert before("second", candidate="mobilenet") is None


@pytest.fixture
def filled(
    registry: RunRegistry, make_record: MakeRecord, predictions: Path, statistics: Path, tmp_path: Path
) -> RunRegistry:
    """A registry with all kinds of files."""
    registry.record(make_record(pushed_version="7"), graph="first", predictions=predictions)
    registry.span("a")
    registry.store_statistics(statistics, run_id="a", schema=SCHEMA)
    (tmp_path / "trials.csv").write_text("trials", "utf-8")
    registry.store_trials(tmp_path / "trials.csv", candidate="vgg16", search="first")
    return registry


READS: dict[str, Callable[[RunRegistry], object]] = {
    "spans.json": lambda registry: registry.span("b"),
    "production.json": lambda registry: registry.production(),
    "pushed/7.json": lambda registry: registry.pushed("7"),
    "statistics.json": lambda registry: registry.previous_statistics(),
    "trials.json": lambda registry: registry.previous_trials(candidate="vgg16", search="second"),
    "predictions/*.parquet": lambda registry: registry.baseline("second"),
    "statistics/*/Split-test/FeatureStats.pb": lambda registry: registry.previous_statistics(),
    "trials/*.csv": lambda registry: registry.previous_trials(candidate="vgg16", search="second"),
}


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
@pytest.mark.parametrize("name", READS)
def test_damaged_file_is_named_with_a_remedy(
    filled: RunRegistry, tmp_path: Path, name: str, damage: str
) -> None:
    assert READS[name](filled)
    (file,) = (tmp_path / "registry").glob(name)
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"7"}[damage])
    with pytest.raises(UserError) as caught:
        READS[name](filled)
    where = file.parents[1] if name.startswith("statistics/") else file
    assert str(caught.value).startswith(f"{where}: ") and "\n" not in str(caught.value)
    assert any(word in str(caught.value) for word in ("delete", "rollback", "restore"))


def test_production_is_written_again_after_damage(filled: RunRegistry, tmp_path: Path) -> None:
    before = filled.production()
    (tmp_path / "registry" / "production.json").write_bytes(b"")
    filled.make_production("7")
    assert filled.production() == before
