"""Commands on finished runs: runs, report, compare and lineage."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from knet.base.errors import UserError
from knet.report.report import write_report
from knet.runs.active_run import lock_output
from knet.runs.record import RunRecord, new_run_id
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.commands.main import cli

FIRST, SECOND, FAILED = "20240101-120000-000000", "20240201-120000-000000", "20240301-120000-000000"


@pytest.fixture
def workspace(make_record: Callable[..., RunRecord], tmp_path: Path) -> Workspace:
    """A run that pushed, one that did not, and one that failed."""
    workspace = Workspace(tmp_path / "out")
    config = {**make_record().config, "seed": 7}
    records = [
        make_record(run_id=FIRST),
        make_record(run_id=SECOND, refusals=("recall is 0.1",), pushed_version=None, config=config),
        make_record(run_id=FAILED, error="Transform: no space left", winner=None, pushed_version=None),
    ]
    for record in records:
        RunRegistry(workspace.registry).record(record)
        write_report(record, workspace.reports / record.run_id)
    return workspace


@pytest.fixture
def knet(workspace: Workspace) -> Callable[..., Result]:
    """Run a command on these runs."""

    def run(*arguments: str) -> Result:
        command = [*arguments, "--set", f"output={workspace.root}"]
        return CliRunner().invoke(cli, command, env={"COLUMNS": "200"}, catch_exceptions=False)

    return run


def lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.output.splitlines()]


def test_runs_lists_newest_first(knet: Callable[..., Result]) -> None:
    rows = [line for line in lines(knet("runs")) if line and line[0].startswith("2024")]
    assert [(row[0], *row[3:5]) for row in rows] == [
        (FAILED, "failed", "–"),
        (SECOND, "not", "pushed"),
        (FIRST, "pushed", "mobilenet"),
    ]
    assert rows[1][5] == "mobilenet"
    assert rows[-1][1:3] == ["2024-01-31", "12:00"]
    assert rows[-1][5:] == ["accuracy", "0.875", "12.3", "s"]


def test_runs_lists_record_of_other_version(knet: Callable[..., Result], workspace: Workspace) -> None:
    (workspace.registry / "runs" / "20230101.json").write_text('{"candidates": {}}', encoding="utf-8")
    assert ["20230101", "recorded", "by", "another", "version"] in lines(knet("runs"))


def test_runs_before_the_first_run(knet: Callable[..., Result], workspace: Workspace) -> None:
    shutil.rmtree(workspace.registry)
    assert knet("runs").output == f"no run in {workspace.root} yet\n"


def test_runs_lists_running_and_killed_run(
    knet: Callable[..., Result], workspace: Workspace, make_record: Callable[..., RunRecord]
) -> None:
    with lock_output(workspace) as run:
        run.begin(make_record(run_id=new_run_id(run.started)))
        run.enter("Transform")
        assert lines(knet("runs"))[3][3:] == ["running", "(Transform)"]
        assert knet("report", "last").exit_code == 0  # the last that ended
        state = workspace.run_state.read_bytes()
    workspace.run_state.write_bytes(state)
    assert lines(knet("runs"))[3][3:] == ["interrupted", "(Transform)"]
    with lock_output(workspace):
        pass
    assert lines(knet("runs"))[3][3:5] == ["interrupted", "mobilenet"]


def test_report_renders_the_page_again(knet: Callable[..., Result], workspace: Workspace) -> None:
    page = workspace.reports / FIRST / "report.html"
    before = page.read_text("utf-8")
    page.unlink()
    assert knet("report", FIRST).output == f"report: {page}\n"
    assert page.read_text("utf-8") == before


def test_report_without_folder_uses_the_registry(knet: Callable[..., Result], workspace: Workspace) -> None:
    shutil.rmtree(workspace.reports)
    assert knet("report", "last").exit_code == 0
    assert "no space left" in (workspace.reports / FAILED / "report.html").read_text("utf-8")


@pytest.mark.parametrize("command", [("report", "none"), ("compare", FIRST, "none"), ("lineage", "none")])
def test_unknown_run_or_version_names_recorded_ones(
    knet: Callable[..., Result], command: tuple[str, ...]
) -> None:
    with pytest.raises(UserError, match=rf"{FIRST}|pushed were 1706702400"):
        knet(*command)


def test_compare_shows_two_runs(knet: Callable[..., Result]) -> None:
    found = lines(knet("compare", FIRST, "last"))
    assert ["verdict", "pushed", "failed"] in found
    assert ["settings:", "no", "difference"] in found
    assert ["seed", "0", "7"] in lines(knet("compare", FIRST, SECOND))


def test_lineage_leads_to_the_data(
    knet: Callable[..., Result], make_record: Callable[..., RunRecord]
) -> None:
    rows = {tuple(row[:2]) for row in lines(knet("lineage", "1706702400"))}
    assert {("run", FIRST), ("candidate", "mobilenet"), ("data", make_record().data.fingerprint)} <= rows


def test_record_beside_the_page_is_json(workspace: Workspace) -> None:
    tree = json.loads((workspace.reports / FIRST / "report.json").read_text("utf-8"))
    assert tree["run_id"] == FIRST


def test_cache_removes_unused_files_of_the_output(knet: Callable[..., Result], workspace: Workspace) -> None:
    for folder in (workspace.feature_maps, workspace.checkpoints, workspace.explanations):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 2_000_000)
    rows = lines(knet("cache"))
    assert rows[-1] == ["total:", "0.01", "GB", "in", "3", "files"]
    assert lines(knet("cache", "--remove-unused", "1"))[-1] == ["removed:", "0.00", "GB", "in", "0", "files"]
    assert lines(knet("cache", "--remove-unused", "0"))[-1] == ["removed:", "0.01", "GB", "in", "3", "files"]
    assert lines(knet("cache"))[-1] == ["total:", "0.00", "GB", "in", "0", "files"]


def test_cache_reads_the_folders_of_kubeflow(knet: Callable[..., Result], tmp_path: Path) -> None:
    settings = []
    for field, folder in (("cache_root", "maps"), ("checkpoints", "checkpoints"), ("registry", "registry")):
        place = tmp_path / folder
        settings += ["--set", f"kubeflow.{field}={place}"]
        file = place / ("explanations/key.zip" if field == "registry" else "file")
        file.parent.mkdir(parents=True)
        file.touch()
    (tmp_path / "registry/spans.json").touch()
    rows = lines(knet("cache", "--kubeflow", *settings))[:-1]
    assert {row[-1] for row in rows} == {
        f"{tmp_path}/{name}" for name in ("maps/file", "checkpoints/file", "registry/explanations/key.zip")
    }


def test_cache_lists_and_removes_leftovers_unless_a_run_works(
    knet: Callable[..., Result], workspace: Workspace
) -> None:
    staging = workspace.served / ".pushing-dead"
    staging.mkdir(parents=True)
    (staging / "half").write_bytes(b"x" * 10)
    assert f"leftover: {staging}" in knet("cache").stdout
    with lock_output(workspace):
        assert str(staging) not in knet("cache").stdout
        knet("cache", "--remove-unused", "0")
        assert staging.exists()
    assert "removed: 0.00 GB in 1 files" in knet("cache", "--remove-unused", "0").stdout
    assert not staging.exists()


def test_runs_as_json_hold_numbers(knet: Callable[..., Result], workspace: Workspace) -> None:
    (workspace.registry / "runs" / "20230101.json").write_text('{"candidates": {}}', encoding="utf-8")
    failed, second, first, unreadable = json.loads(knet("runs", "--json").output)
    assert [run["run"] for run in (failed, second, first)] == [FAILED, SECOND, FIRST]
    assert (first["winner"], first["metric"], first["on_test"]) == ("mobilenet", "accuracy", 0.875)
    assert first["version"] == "1706702400" and second["version"] is None
    assert failed["reason"] == "Transform: no space left" and failed["on_test"] is None
    assert unreadable["run"] == "20230101" and "restore it, or delete it" in unreadable["error"]


def test_runs_show_note_and_tags_and_are_found_by_tag(
    knet: Callable[..., Result], workspace: Workspace, make_record: Callable[..., RunRecord]
) -> None:
    record = make_record(run_id="20240401-120000-000000", note="with dropout", tags=("nightly", "paper"))
    RunRegistry(workspace.registry).record(record)
    rows = [line for line in lines(knet("runs", "--tag", "paper")) if line and line[0].startswith("2024")]
    assert len(rows) == 1 and rows[0][-4:] == ["#nightly", "#paper", "with", "dropout"]
    assert f"no run with the tag none in {workspace.root} yet" in knet("runs", "--tag", "none").output


def test_lists_find_the_newest_output_below_runs(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, age in (("older", 100), ("newer", 0)):
        shutil.copytree(workspace.root, tmp_path / "runs" / name)
        folder = tmp_path / "runs" / name / "registry" / "runs"
        os.utime(folder, (time.time() - age,) * 2)
    for arguments in (["runs"], ["report"], ["compare", FIRST, SECOND], ["lineage", "1706702400"]):
        found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        assert found.stderr == ("in runs/newer, the newest of 2 outputs below runs; --output names another\n")
    given = CliRunner().invoke(cli, ["report", "last", "--output", "runs/older"], catch_exceptions=False)
    assert given.output == f"report: runs/older/reports/{FAILED}/report.html\n"


def test_compare_needs_two_runs(knet: Callable[..., Result]) -> None:
    result = knet("compare", FIRST)
    assert result.exit_code == 2 and "name two runs or more" in result.output


def test_cache_takes_an_output_folder(knet: Callable[..., Result], workspace: Workspace) -> None:
    expected = knet("cache").output
    assert CliRunner().invoke(cli, ["cache", "--output", str(workspace.root)]).output == expected
    beside = CliRunner().invoke(cli, ["cache", "--kubeflow", "--output", str(workspace.root)])
    assert beside.exit_code == 2 and "give one of them" in beside.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([FIRST], f"run {FIRST} was made without tracking.mlflow: name the server with --mlflow URL"),
        (["--mlflow", "localhost:5000"], "--mlflow: 'localhost:5000' is no URL of a server"),
        (
            ["--mlflow", "http://127.0.0.1:1"],
            f"Connection refused; log the run later with knet track {FAILED}",
        ),
    ],
)
def test_track_without_a_server_names_the_remedy(
    knet: Callable[..., Result], arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=re.escape(message)):
        knet("track", *arguments)
