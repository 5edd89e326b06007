"""A run is found by id, as the last one, and by its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.registry import RunRegistry
from pipeline.report.find_run import find_run
from pipeline.report.write_report import write_report
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace


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
def test_a_run_of_the_registry(workspace: Workspace, name: str, run_id: str) -> None:
    record, folder = find_run(name, workspace)
    assert record.run_id == run_id
    assert folder == workspace.reports / run_id


def test_the_folder_of_a_run_that_no_registry_knows(
    workspace: Workspace, make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    write_report(make_record(run_id="elsewhere"), tmp_path / "copied")
    record, folder = find_run(str(tmp_path / "copied"), workspace)
    assert (record.run_id, folder) == ("elsewhere", tmp_path / "copied")


def test_an_unknown_run_names_the_known_ones_newest_first(workspace: Workspace) -> None:
    with pytest.raises(
        UserError, match=r"no run 1999 in .*; there are 20240201-000000-000000, 20240101-000000-000000$"
    ):
        find_run("1999", workspace)


def test_of_many_runs_the_newest_are_named(
    workspace: Workspace, make_record: Callable[..., RunRecord]
) -> None:
    for number in range(10):
        RunRegistry(workspace.registry).record(make_record(run_id=f"2025010{number}"))
    with pytest.raises(UserError, match=r"there are 20250109, .*, 20250100 and 2 earlier ones$"):
        find_run("1999", workspace)


def test_before_the_first_run_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run in .* yet"):
        find_run("last", Workspace(tmp_path))
