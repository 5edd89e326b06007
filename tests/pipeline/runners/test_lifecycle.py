"""A run's start and end: a missing winner is published again, and the record is written last."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base import node_ids, run_files
from knet.base.storage import open_store
from knet.runs.record import Execution, NodeRecord, OutputArtifact, RunRecord
from knet.runs.registry import PriorState, RunRegistry
from knet.serving.models_config import complete_versions, newest_version
from pipeline.config.load import load_config
from pipeline.runners.lifecycle import (
    RunContext,
    RunOutcome,
    build_run_record,
    finalize_run,
    load_run_context,
    republish_if_missing,
    republish_winner,
    start_run,
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("a model")
    return folder


def push(served: Path, version: str) -> None:
    (served / version).mkdir(parents=True)
    (served / version / "saved_model.pb").write_text("another model")


def test_republish_keeps_the_newest_version(tmp_path: Path, archive: Path) -> None:
    shutil.copytree(archive, tmp_path / "served" / "7")
    assert republish_if_missing(tmp_path / "served", version="7", archive=archive) == "7"
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["7"]


def test_republish_takes_a_version_of_the_same_content(tmp_path: Path, archive: Path) -> None:
    served = tmp_path / "served"
    first = republish_if_missing(served, version="7", archive=archive)  # the folder was removed
    assert [republish_if_missing(served, version="7", archive=archive) for _ in range(2)] == [first] * 2
    assert list(complete_versions(served)) == [int(first or 0)]


def test_republish_replaces_a_damaged_version(tmp_path: Path, archive: Path) -> None:
    (archive / "variables" / "variables.index").write_text("index")
    served = tmp_path / "served"
    shutil.copytree(archive, served / "7")
    shutil.rmtree(served / "7" / "variables")
    version = republish_if_missing(served, version="7", archive=archive)
    assert version and list(complete_versions(served)) == [int(version)] != [7]
    assert (served / version / "variables" / "variables.index").read_text() == "index"
    assert republish_if_missing(served, version="7", archive=archive) == version


def test_republish_numbers_above_a_version_pushed_since(tmp_path: Path, archive: Path) -> None:
    served, newer = tmp_path / "served", str(10**12)
    push(served, "7")
    push(served, newer)
    version = republish_if_missing(served, version="7", archive=archive)
    assert version is not None
    assert int(version) == int(newer) + 1
    assert newest_version(served) == served / version
    assert (served / version / "saved_model.pb").read_text() == "a model"


def test_republish_creates_a_removed_folder(tmp_path: Path, archive: Path) -> None:
    served = tmp_path / "served"
    version = republish_if_missing(served, version="7", archive=archive)
    assert {path.name for path in served.iterdir()} == {version, "models.config", ".lock"}


def test_republish_leaves_no_version_of_an_interrupted_copy(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(shutil, "copytree", interrupted)
    with pytest.raises(OSError, match="disk full"):
        republish_if_missing(tmp_path / "served", version="7", archive=archive)
    assert newest_version(tmp_path / "served") is None


@pytest.fixture
def pushed(archive: Path) -> dict[str, Execution]:
    """Execution of a Pusher that pushed version 7."""
    model = OutputArtifact(1, archive, {"pushed_version": "7"})
    return {node_ids.PUSHER: Execution(1, cached=True, outputs={"pushed_model": model})}


@pytest.fixture
def context(make_record: Callable[..., RunRecord], tmp_path: Path) -> RunContext:
    registry = RunRegistry(tmp_path / "registry")
    config, data = load_config("demo").with_slices(()), make_record().data
    return start_run(registry, config, data, prior=PriorState(), schema=tmp_path / "s", graph="g")


FAILED = RunOutcome((NodeRecord("DataGate", "failed", 0.5),), error="DataGate: no", user_error=True)


def test_build_run_record_pushes_nothing(
    context: RunContext, pushed: dict[str, Execution], tmp_path: Path
) -> None:
    served = tmp_path / "served"
    record = build_run_record(context, RunOutcome(executions=pushed), pushed_folder=served / "7")
    assert (record.pushed_version, record.pushed_folder) == ("7", str(served / "7"))
    assert record.refusals == () and not served.exists()


def test_build_run_record_of_a_withdrawn_model_has_the_reason(
    context: RunContext, pushed: dict[str, Execution]
) -> None:
    record = build_run_record(context, RunOutcome(executions=pushed), pushed_folder=None)
    assert record.pushed_version is None
    assert "rolled back" in record.refusals[0]


def test_republish_winner_returns_the_served_version(pushed: dict[str, Execution], tmp_path: Path) -> None:
    served = tmp_path / "served"
    assert republish_winner(served, {}) is None and not served.exists()
    version = republish_winner(served, pushed)
    assert version and (served / version / "saved_model.pb").read_text() == "a model"


def test_run_context_round_trips_through_json(context: RunContext) -> None:
    assert load_run_context(context.to_json()) == context


def _finalize(context: RunContext, tmp_path: Path, publish: Callable[[], object]) -> RunRecord:
    places: dict[str, Any] = {
        "served": tmp_path / "served",
        "explanations": open_store(tmp_path / "explanations"),
    }
    registry = RunRegistry(tmp_path / "registry")
    folder = tmp_path / "report"
    return finalize_run(context, FAILED, registry=registry, folder=folder, publish=publish, **places)


def test_finalize_run_writes_the_record_after_the_page(context: RunContext, tmp_path: Path) -> None:
    seen = []

    def publish() -> None:
        seen.append(((tmp_path / "report" / run_files.PAGE).is_file(), _recorded(tmp_path)))

    record = _finalize(context, tmp_path, publish)
    assert seen == [(True, [])]
    assert _recorded(tmp_path) == [record.run_id]
    assert (record.error, record.user_error) == ("DataGate: no", True)


def test_finalize_run_records_nothing_if_publishing_fails(context: RunContext, tmp_path: Path) -> None:
    def publish() -> None:
        raise OSError("store unreachable")

    with pytest.raises(OSError, match="store unreachable"):
        _finalize(context, tmp_path, publish)
    assert _recorded(tmp_path) == []


def _recorded(tmp_path: Path) -> list[str]:
    return list(RunRegistry(tmp_path / "registry").runs())
