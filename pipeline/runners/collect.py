"""Copies what a run's page needs out of the artifacts into the run's folder, which outlives them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline import features
from pipeline.evaluation.predictions import read_predictions
from pipeline.ingested_examples import ingested_examples
from pipeline.report import run_files
from pipeline.report.patient_rows import images_to_show, patient_rows
from pipeline.report.picture import thumbnail
from pipeline.runners.execution import Execution

_LONGEST = 240  # pixels of a thumbnail's side
_SEARCH = ("*.csv", "*.json", "*.svg")  # files; the logs for TensorBoard stay where they are


def collect(
    folder: Path, executions: Mapping[str, Execution], *, candidates: Iterable[str], winner: str | None
) -> None:
    """Copies what there is; a run that failed early leaves little.

    Args:
        folder: of the run; the winner's predictions are in it.
        executions: by node, those that succeeded.
        candidates: names of those that were trained.
        winner: whose worst images are kept as thumbnails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in candidates:
        history = executions[f"Trainer-{name}"].outputs["model_run"].uri / "history.json"
        _copy(history, folder / run_files.TRAINING / f"{name}.json")
    for node, execution in executions.items():
        if trials := execution.outputs.get("trials"):
            for file in (file for pattern in _SEARCH for file in trials.uri.glob(pattern)):
                _copy(file, folder / run_files.TUNING / node / file.name)
    _write(folder / run_files.LINEAGE, _artifacts(executions))
    if winner:
        examples = executions["BreakHisExampleGen"].outputs["examples"].uri / "Split-test"
        _keep_thumbnails(folder, winner, examples)


def _keep_thumbnails(folder: Path, winner: str, examples: Path) -> None:
    """Keeps the images that the page shows of the worst patients, small."""
    predictions = read_predictions(folder / run_files.PREDICTIONS / f"{winner}.parquet")
    wanted = set(images_to_show(patient_rows(predictions[predictions[features.SPLIT] == "test"])))
    thumbnails = folder / run_files.THUMBNAILS
    thumbnails.mkdir(exist_ok=True)
    index: dict[str, str] = {}
    for example in ingested_examples(examples) if wanted else ():
        if example.path in wanted:
            index[example.path] = f"{len(index)}.jpg"
            (thumbnails / index[example.path]).write_bytes(thumbnail(example.image, longest=_LONGEST))
    _write(thumbnails / run_files.INDEX, index)


def _artifacts(executions: Mapping[str, Execution]) -> list[dict[str, object]]:
    return [
        {
            "node": node,
            "output": output,
            "artifact": artifact.id,
            "execution": execution.id,
            "cached": execution.cached,
            "uri": artifact.remote or str(artifact.uri),
        }
        for node, execution in executions.items()
        for output, artifact in execution.outputs.items()
    ]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write(file: Path, tree: object) -> None:
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
