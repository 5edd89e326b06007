"""Comparison of runs: outcome, settings, metrics and paired differences."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from knet.evaluation.bootstrap import estimate_difference
from knet.evaluation.predictions import binary_sample
from knet.report.compare import compare_runs, config_differences
from knet.report.inputs import Inputs, read_inputs
from knet.runs.record import RunRecord
from pipeline.config.load import load_config


@pytest.fixture(scope="module")
def inputs(full_record: RunRecord, full_folder: Path) -> Inputs:
    return read_inputs(full_record, full_folder)


def shown(first: Inputs, second: Inputs) -> list[list[str]]:
    """Return the words of each line of the comparison."""
    console = Console(width=200, record=True, file=io.StringIO())
    for table in compare_runs([first, second]):
        console.print(table)
    return [line.split() for line in console.export_text().splitlines()]


def test_compare_runs_shows_metrics_with_intervals(inputs: Inputs) -> None:
    other = replace(inputs, record=replace(inputs.record, run_id="other", winner="mobilenet"))
    lines = shown(inputs, other)
    (line,) = [line for line in lines if line[:2] == ["test", "roc_auc"]]
    expected = [inputs.metrics(name, "test")["roc_auc"] for name in ("resnet152", "mobilenet")]
    assert [line[2], line[6]] == [f"{found['value']:.3f}" for found in expected]
    assert line[3:6] == [f"({expected[0]['low']:.2f}", "to", f"{expected[0]['high']:.2f})"]


def test_compare_runs_lists_only_settings_that_differ(inputs: Inputs) -> None:
    config = {**inputs.record.config, "seed": 7}
    lines = shown(inputs, replace(inputs, record=replace(inputs.record, config=config)))
    assert ["seed", "0", "7"] in lines
    assert not any(line[:1] == ["training.epochs"] for line in lines)


def test_compare_runs_equal_settings_have_no_table(inputs: Inputs) -> None:
    lines = shown(inputs, inputs)
    after = lines[lines.index(["settings:", "no", "difference"]) + 1 :]
    assert next(line for line in after if line)[:1] == ["metrics"]  # no empty table between


def test_compare_runs_states_whether_patients_are_the_same(inputs: Inputs) -> None:
    data = replace(inputs.record.data, split_sha256="0" * 64)
    other = replace(inputs, record=replace(inputs.record, data=data))
    assert any("on different patients: not comparable" in " ".join(line) for line in shown(inputs, other))
    assert any("on the same patients" in " ".join(line) for line in shown(inputs, inputs))


def test_compare_runs_failed_run_has_no_metrics(inputs: Inputs, failed_record: RunRecord) -> None:
    failed = replace(inputs, record=failed_record, results=None)
    (line,) = [line for line in shown(inputs, failed) if line[:2] == ["test", "roc_auc"]]
    assert line[-1] == "–"


def test_config_differences_by_path() -> None:
    first, second = (load_config("demo", [f"seed={seed}"]).model_dump(mode="json") for seed in (1, 2))
    assert config_differences([first, second]) == {"seed": ("1", "2")}


def test_config_differences_of_absent_section_list_its_fields() -> None:
    first = {"tuning": None, "a": 1}
    second = {"tuning": {"trials": 3, "momentum": {"low": 0.5}}, "a": 1}
    assert config_differences([first, second]) == {
        "tuning": ("None", "–"),
        "tuning.trials": ("–", "3"),
        "tuning.momentum.low": ("–", "0.5"),
    }


def test_config_differences_of_equal_configurations_are_empty() -> None:
    tree = load_config("paper").model_dump(mode="json")
    assert config_differences([tree, tree]) == {}


def test_compare_runs_have_paired_differences_on_the_same_patients(inputs: Inputs) -> None:
    other = replace(inputs, record=replace(inputs.record, run_id="other", winner="mobilenet"))
    (line,) = [line for line in shown(inputs, other) if line[:1] == ["roc_auc"]]
    samples = [
        binary_sample(frame[frame["split"] == "test"])
        for frame in (inputs.predictions["mobilenet"], inputs.predictions["resnet152"])
    ]
    expected = estimate_difference(samples[0], samples[1], metric="roc_auc", seed=0)
    assert line[1:] == [
        f"{expected.value:+.3f}",
        f"({expected.low:+.2f}",
        "to",
        f"{expected.high:+.2f})",
    ]


def test_compare_runs_on_other_patients_have_no_differences(inputs: Inputs) -> None:
    data = replace(inputs.record.data, split_sha256="0" * 64)
    other = replace(inputs, record=replace(inputs.record, data=data))
    assert not any("paired," in line for line in shown(inputs, other))


def test_compare_runs_of_three_have_a_column_each(inputs: Inputs) -> None:
    runs = [replace(inputs, record=replace(inputs.record, run_id=name, note=name)) for name in "abc"]
    tables = compare_runs(runs)
    assert [column.header for column in tables[0].columns] == ["", "a", "b", "c"]
    assert [column.header for column in tables[-1].columns] == ["", "b", "c"]
