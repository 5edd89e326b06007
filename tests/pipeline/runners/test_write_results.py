"""What machines read beside a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.evaluation.predictions import read_predictions, write_predictions
from pipeline.runners.execution import Execution, OutputArtifact
from pipeline.runners.write_results import write_results


def execution(**outputs: Path) -> Execution:
    artifacts = {name: OutputArtifact(1, uri, {}) for name, uri in outputs.items()}
    return Execution(1, cached=False, outputs=artifacts)


@pytest.fixture
def executions(tmp_path: Path, make_predictions: Callable[..., Any]) -> dict[str, Execution]:
    """Two candidates that were evaluated, of which one was chosen and refused."""
    for name in ("results", "decision"):
        (tmp_path / name).write_text(json.dumps({"of": name}), encoding="utf-8")
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / "gate.json").write_text('{"reasons": []}', encoding="utf-8")
    evaluations = {}
    for name in ("vgg16", "mobilenet"):
        frame = make_predictions(name)
        for number, part in enumerate((frame[5:], frame[:5])):
            write_predictions(part, tmp_path / name / "predictions" / f"{number}.parquet")
        evaluations[f"Evaluator-{name}"] = execution(evaluation=tmp_path / name)
    return {
        **evaluations,
        "ModelSelector": execution(results=tmp_path / "results", decision=tmp_path / "decision"),
        "ModelGate": execution(blessing=tmp_path / "blessing"),
    }


def test_figures_decision_verdict_and_predictions_stand_beside_the_report(
    executions: dict[str, Execution], tmp_path: Path, make_predictions: Callable[..., Any]
) -> None:
    files = write_results(tmp_path / "report", executions, candidates=["vgg16", "mobilenet"])
    assert sorted(path.relative_to(tmp_path / "report").as_posix() for path in files.values()) == [
        "predictions/mobilenet.parquet",
        "predictions/vgg16.parquet",
    ]
    for name in ("results", "decision"):
        assert json.loads((tmp_path / "report" / f"{name}.json").read_text("utf-8")) == {"of": name}
    assert json.loads((tmp_path / "report" / "gate.json").read_text("utf-8")) == {"reasons": []}
    expected = make_predictions("vgg16").sort_values("image", ignore_index=True)
    pd.testing.assert_frame_equal(read_predictions(files["vgg16"]), expected)


def test_of_a_run_that_failed_there_is_what_it_came_to(
    executions: dict[str, Execution], tmp_path: Path
) -> None:
    came_to = {"Evaluator-vgg16": executions["Evaluator-vgg16"]}
    files = write_results(tmp_path / "report", came_to, candidates=["vgg16", "mobilenet"])
    assert list(files) == ["vgg16"]
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["predictions"]
