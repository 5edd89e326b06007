"""Queries on recorded runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.report.queries import (
    SUMMARY_HEADER,
    find_run,
    find_version,
    lineage_steps,
    summary_rows,
)
from knet.report.report import write_report
from knet.runs.record import RunRecord
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace


@pytest.fixture
def workspace(make_record: Callable[..., RunRecord], tmp_path: Path) -> Workspace:
    """Two runs."""
    workspace = Workspace(tmp_path / "runs")
    for run_id in ("20240101-000000-000000", "20240201-000000-000000"):
        RunRegistry(workspace.registry).record(make_record(run_id=run_id))
    return workspace


@pytest.mark.parametrize(
    ("name", "run_id"),
    [("20240101-000000-000000", "20240101-000000-000000"), ("last", "20240201-000000-000000")],
)
def test_find_run_by_id_or_last(workspace: Workspace, name: str, run_id: str) -> None:
    record, folder = find_run(name, workspace)
    assert record.run_id == run_id
    assert folder == workspace.reports / run_id


def test_find_run_by_folder_outside_the_registry(
    workspace: Workspace, make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    write_report(make_record(run_id="elsewhere"), tmp_path / "copied")
    record, folder = find_run(str(tmp_path / "copied"), workspace)
    assert (record.run_id, folder) == ("elsewhere", tmp_path / "copied")


def test_find_run_unknown_id_names_recorded_ones(workspace: Workspace) -> None:
    with pytest.raises(
        UserError, match=r"no run 1999 in .*; there are 20240201-000000-000000, 20240101-000000-000000$"
    ):
        find_run("1999", workspace)


def test_find_run_unknown_id_names_the_newest_of_many(
    workspace: Workspace, make_record: Callable[..., RunRecord]
) -> None:
    for number in range(10):
        RunRegistry(workspace.registry).record(make_record(run_id=f"2025010{number}"))
    with pytest.raises(UserError, match=r"there are 20250109, .*, 20250100 and 2 earlier ones$"):
        find_run("1999", workspace)


def test_find_run_before_the_first_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run in .* yet"):
        find_run("last", Workspace(tmp_path))


MakeRecord = Callable[..., RunRecord]


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "registry")


def test_find_version_returns_the_first_run_that_pushed_it(
    registry: RunRegistry, make_record: MakeRecord
) -> None:
    for run_id, version in (("a", "1"), ("b", None), ("c", "2"), ("d", "2")):
        registry.record(make_record(run_id=run_id, pushed_version=version))
    assert find_version("2", registry, where=Path("out")).run_id == "c"


def test_find_version_unknown_names_pushed_versions(registry: RunRegistry, make_record: MakeRecord) -> None:
    for version in ("1", "2"):
        registry.record(make_record(run_id=version, pushed_version=version))
    with pytest.raises(UserError, match="no run in out pushed version 3; pushed were 2, 1$"):
        find_version("3", registry, where=Path("out"))


def test_find_version_before_the_first_push_is_an_error(registry: RunRegistry) -> None:
    with pytest.raises(UserError, match="none was pushed yet"):
        find_version("3", registry, where=Path("out"))


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_find_version_damaged_record_is_named(
    registry: RunRegistry, make_record: MakeRecord, text: str
) -> None:
    file = registry.record(make_record())
    file.write_text(text, encoding="utf-8")
    with pytest.raises(
        UserError, match=f"^{file}.* (damaged|no record of a run).*; restore it, or delete it$"
    ):
        find_version("3", registry, where=Path("out"))


def test_lineage_steps_lead_from_data_to_version(make_record: MakeRecord) -> None:
    steps = {step.name: step.value for step in lineage_steps(make_record())}
    assert list(steps)[:4] == ["data", "split", "configuration", "run"]
    assert steps["data"] == make_record().data.fingerprint
    assert steps["split"] == make_record().data.split_sha256
    assert (steps["candidate"], steps["code"], steps["commit"]) == ("mobilenet", "8899aabb" * 8, "unknown")
    assert list(steps)[-1] == "served version" and steps["served version"] == "1706702400"


def test_lineage_steps_configuration_digest_depends_on_settings(make_record: MakeRecord) -> None:
    record = make_record()
    other = replace(record, config={**record.config, "seed": 7})
    values = [{s.name: s.value for s in lineage_steps(r)}["configuration"] for r in (record, other)]
    assert values[0] != values[1]


def test_lineage_steps_of_failed_run_lack_the_candidate(make_record: MakeRecord) -> None:
    steps = lineage_steps(make_record(winner=None, candidates={}, pushed_version=None))
    assert [step.name for step in steps] == ["data", "split", "configuration", "run", "served version"]
    assert steps[-1].value == "none"


def rows(record: RunRecord) -> dict[str, dict[str, str]]:
    """Return the cells of each candidate by their titles."""
    return {row[0]: dict(zip(SUMMARY_HEADER, row, strict=True)) for row in summary_rows(record)}


def with_metrics(record: RunRecord, metrics: dict[str, dict[str, float]]) -> RunRecord:
    return replace(record, candidates={"vgg16": replace(record.candidates["vgg16"], metrics=metrics)})


def test_summary_rows_of_a_candidate(make_record: MakeRecord) -> None:
    assert list(rows(make_record())["mobilenet"].values()) == [
        "mobilenet",
        "imagenet",
        "40",
        "1,234,567",
        "0.875",
        "0.500",
        "0.625",
        "0.75 (0.25-0.95)",
        "0.500",
        "0.750",
        "61",
        "winner",
    ]


def test_summary_row_names_the_backbone_of_a_named_candidate(make_record: MakeRecord) -> None:
    record = make_record()
    candidate = record.candidates["vgg16"]
    named = replace(candidate, info=replace(candidate.info, candidate="deep", backbone="vgg16"))
    (title,) = rows(replace(record, candidates={"deep": named}))
    assert title == "deep (vgg16)"


def test_summary_header_names_the_split() -> None:
    assert SUMMARY_HEADER[4:10] == (
        "val accuracy",
        "val balanced",
        "val AUC",
        "test patients",
        "test balanced",
        "test AUC",
    )


def test_summary_rows_have_the_order_of_the_record(make_record: MakeRecord) -> None:
    candidates = make_record().candidates
    turned = dict(reversed(candidates.items()))
    assert list(rows(make_record(candidates=turned))) == ["vgg16", "mobilenet"]


def test_summary_rows_mark_the_winner(make_record: MakeRecord) -> None:
    assert [row[""] for row in rows(make_record()).values()] == ["winner", ""]


def test_summary_rows_undefined_metric(make_record: MakeRecord) -> None:
    record = with_metrics(make_record(), {"test": {"roc_auc": math.nan, "balanced_accuracy": 1.0}})
    assert rows(record)["vgg16"]["test AUC"] == "undefined"
    assert rows(record)["vgg16"]["test balanced"] == "1.000"


def test_summary_rows_undefined_patient_rate_has_no_interval(make_record: MakeRecord) -> None:
    record = with_metrics(make_record(), {"test": {"patient_recognition_rate": math.nan}})
    assert rows(record)["vgg16"]["test patients"] == "undefined"


@pytest.mark.parametrize("title", SUMMARY_HEADER[4:10])
def test_summary_rows_before_evaluation_have_no_metrics(make_record: MakeRecord, title: str) -> None:
    assert rows(with_metrics(make_record(), {}))["vgg16"][title] == ""


def test_summary_rows_before_training_are_empty(make_record: MakeRecord) -> None:
    assert summary_rows(make_record(candidates={}, winner=None)) == []
