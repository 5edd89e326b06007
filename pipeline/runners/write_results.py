"""Puts what machines read beside a run's report, from the artifacts of its nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.predictions import FOLDER, read_predictions, write_predictions
from pipeline.report import run_files
from pipeline.runners.execution import Execution


def write_results(
    folder: Path, executions: Mapping[str, Execution], *, candidates: Iterable[Any]
) -> dict[str, Path]:
    """Writes `results.json`, `decision.json` and `gate.json`, and the predictions, as far as the run came.

    Args:
        folder: of the report.
        executions: by node.
        candidates: their names.

    Returns:
        By candidate, the Parquet with its predictions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (node, output, inner) in {
        run_files.RESULTS: ("ModelSelector", "results", ""),
        run_files.DECISION: ("ModelSelector", "decision", ""),
        run_files.GATE: ("ModelGate", "blessing", "gate.json"),
    }.items():
        if node in executions:
            tree = json.loads((executions[node].outputs[output].uri / inner).read_text(encoding="utf-8"))
            (folder / name).write_text(json.dumps(tree, indent=2, allow_nan=False), encoding="utf-8")
    files = {}
    for candidate in candidates:
        if (node := f"Evaluator-{candidate}") in executions:
            files[candidate] = folder / run_files.PREDICTIONS / f"{candidate}.parquet"
            frame = read_predictions(executions[node].outputs["evaluation"].uri / FOLDER)
            write_predictions(frame, files[candidate])
    return files
