"""A run is found by id, as the last one, and by its folder."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from knet.base.errors import UserError
from knet.report.inputs import Inputs, read_inputs
from knet.report.queries import compare_runs, config_differences, find_run, find_version, lineage_steps
from knet.report.report import write_report
from knet.runs.record import RunRecord
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.config.load import load_config


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


MakeRecord = Callable[..., RunRecord]


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "registry")


def test_it_is_the_run_that_pushed_it_first(registry: RunRegistry, make_record: MakeRecord) -> None:
    for run_id, version in (("a", "1"), ("b", None), ("c", "2"), ("d", "2")):
        registry.record(make_record(run_id=run_id, pushed_version=version))
    assert find_version("2", registry, where=Path("out")).run_id == "c"


def test_an_unknown_version_names_the_known_ones(registry: RunRegistry, make_record: MakeRecord) -> None:
    for version in ("1", "2"):
        registry.record(make_record(run_id=version, pushed_version=version))
    with pytest.raises(UserError, match="no run in out pushed version 3; pushed were 2, 1$"):
        find_version("3", registry, where=Path("out"))


def test_before_the_first_push_there_is_none(registry: RunRegistry) -> None:
    with pytest.raises(UserError, match="none was pushed yet"):
        find_version("3", registry, where=Path("out"))


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_broken_record_is_named(registry: RunRegistry, make_record: MakeRecord, text: str) -> None:
    file = registry.record(make_record())
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"{file} is no record of a run"):
        find_version("3", registry, where=Path("out"))


@pytest.fixture(scope="module")
def inputs(full_record: RunRecord, full_folder: Path) -> Inputs:
    return read_inputs(full_record, full_folder)


def shown(first: Inputs, second: Inputs) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=200, record=True, file=io.StringIO())
    for table in compare_runs(first, second):
        console.print(table)
    return [line.split() for line in console.export_text().splitlines()]


def test_metrics_stand_side_by_side_with_their_intervals(inputs: Inputs) -> None:
    other = replace(inputs, record=replace(inputs.record, run_id="other", winner="mobilenet"))
    lines = shown(inputs, other)
    (line,) = [line for line in lines if line[:2] == ["test", "roc_auc"]]
    expected = [inputs.metrics(name, "test")["roc_auc"] for name in ("resnet152", "mobilenet")]
    assert [line[2], line[6]] == [f"{found['value']:.3f}" for found in expected]
    assert line[3:6] == [f"({expected[0]['low']:.2f}", "to", f"{expected[0]['high']:.2f})"]


def test_only_settings_that_differ_are_listed(inputs: Inputs) -> None:
    config = {**inputs.record.config, "seed": 7}
    lines = shown(inputs, replace(inputs, record=replace(inputs.record, config=config)))
    assert ["seed", "0", "7"] in lines
    assert not any(line[:1] == ["training.epochs"] for line in lines)


def test_equal_settings_are_called_so(inputs: Inputs) -> None:
    lines = shown(inputs, inputs)
    after = lines[lines.index(["settings:", "no", "difference"]) + 1 :]
    assert next(line for line in after if line)[:1] == ["metrics"]  # no empty table between


def test_it_is_said_where_the_patients_are_not_the_same(inputs: Inputs) -> None:
    data = replace(inputs.record.data, split_sha256="0" * 64)
    other = replace(inputs, record=replace(inputs.record, data=data))
    assert any("not of the same patients" in " ".join(line) for line in shown(inputs, other))
    assert any("on the same patients" in " ".join(line) for line in shown(inputs, inputs))


def test_a_failed_run_has_no_metrics(inputs: Inputs, failed_record: RunRecord) -> None:
    failed = replace(inputs, record=failed_record, results=None)
    (line,) = [line for line in shown(inputs, failed) if line[:2] == ["test", "roc_auc"]]
    assert line[-1] == "–"


def test_only_fields_that_differ_are_named_by_their_paths() -> None:
    first, second = (load_config("demo", [f"seed={seed}"]).model_dump(mode="json") for seed in (1, 2))
    assert config_differences(first, second) == {"seed": ("1", "2")}


def test_a_section_that_one_lacks_is_listed_field_by_field() -> None:
    first = {"tuning": None, "a": 1}
    second = {"tuning": {"trials": 3, "momentum": {"low": 0.5}}, "a": 1}
    assert config_differences(first, second) == {
        "tuning": ("None", "–"),
        "tuning.trials": ("–", "3"),
        "tuning.momentum.low": ("–", "0.5"),
    }


def test_equal_configurations_have_no_differences() -> None:
    tree = load_config("paper").model_dump(mode="json")
    assert config_differences(tree, tree) == {}


def test_every_step_from_the_data_to_the_version_is_there(make_record: MakeRecord) -> None:
    steps = {step.what: step.value for step in lineage_steps(make_record())}
    assert list(steps)[:4] == ["data", "split", "configuration", "run"]
    assert steps["data"] == make_record().data.fingerprint
    assert steps["split"] == make_record().data.split_sha256
    assert (steps["candidate"], steps["code"], steps["commit"]) == ("mobilenet", "8899aabb" * 8, "unknown")
    assert list(steps)[-1] == "served version" and steps["served version"] == "1706702400"


def test_another_setting_is_another_configuration(make_record: MakeRecord) -> None:
    record = make_record()
    other = replace(record, config={**record.config, "seed": 7})
    values = [{s.what: s.value for s in lineage_steps(r)}["configuration"] for r in (record, other)]
    assert values[0] != values[1]


def test_a_failed_run_has_what_it_came_to(make_record: MakeRecord) -> None:
    steps = lineage_steps(make_record(winner=None, candidates={}, pushed_version=None))
    assert [step.what for step in steps] == ["data", "split", "configuration", "run", "served version"]
    assert steps[-1].value == "none"
