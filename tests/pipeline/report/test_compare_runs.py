"""Two runs side by side."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.report.compare_runs import compare_runs
from pipeline.report.inputs import Inputs, read_inputs
from pipeline.run_record import RunRecord


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
