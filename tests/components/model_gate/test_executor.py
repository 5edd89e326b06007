"""Executor of ModelGate on predictions on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components.model_gate.executor import Executor
from knet.base.errors import UserError
from knet.evaluation.predictions import write_predictions


@pytest.fixture
def gate(tmp_path: Path, make_predictions: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Runs the gate on a winner with a given accuracy, and returns `gate.json`."""

    def run(*, right: float = 1.0, baseline: Path | None = None) -> dict[str, Any]:
        write_predictions(
            make_predictions("vgg16", patients=4, right=right), tmp_path / "won" / "predictions" / "a.parquet"
        )
        evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(tmp_path / "won"), str(tmp_path / "blessing")
        rules = {
            "minimum": {"recall": 0.6},
            "margin": 0.1,
            "metric": "patient_recognition_rate",
            "min_patients": 2,
            "on_insufficient_data": "fail",
        }
        Executor().Do(
            {"evaluation": [evaluation]},
            {"blessing": [blessing]},
            {
                "rules": json.dumps(rules),
                "classes": json.dumps(["benign", "malignant"]),
                "positive": "[]",
                "baseline": str(baseline or ""),
                "baseline_digest": "",
                "baseline_version": "7",
                "seed": 0,
            },
        )
        record = json.loads((tmp_path / "blessing" / "gate.json").read_text("utf-8"))
        files = {path.name for path in (tmp_path / "blessing").iterdir()}
        assert files == {"gate.json", "BLESSED" if record["blessed"] else "NOT_BLESSED"}
        assert blessing.get_int_custom_property("blessed") == record["blessed"]
        return record

    return run


def test_model_gate_blesses_a_good_model_on_a_first_run(gate: Callable[..., dict[str, Any]]) -> None:
    record = gate()
    assert (record["model"], record["blessed"], record["reasons"]) == ("vgg16", True, [])


def test_model_gate_does_not_bless_a_bad_model(gate: Callable[..., dict[str, Any]]) -> None:
    record = gate(right=0.0)
    assert record["reasons"] == ["recall on test is 0, below the minimum of 0.6"]


def test_model_gate_compares_test_rows_of_production(
    gate: Callable[..., dict[str, Any]], make_predictions: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "production.parquet"
    write_predictions(make_predictions("resnet50", patients=4), file)
    record = gate(right=0.7, baseline=file)
    assert record["comparison"]["with"] == "resnet50" and record["comparison"]["images"] == 24
    assert record["comparison"]["difference"]["value"] < 0 and not record["blessed"]


def test_model_gate_without_baseline_file_is_a_user_error(
    gate: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no predictions: .*nothing.parquet is missing"):
        gate(baseline=tmp_path / "nothing.parquet")
