"""Copies what a run's page needs out of the artifacts into the run's folder, which outlives them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from knet.base import run_files, schema_names
from knet.base.digests import code_digest, text_digest
from knet.base.storage import local_copy
from knet.data.validation import read_statistics, validate_data
from knet.data.validation_page import write_page
from knet.evaluation.predictions import FOLDER, read_predictions, write_predictions
from knet.report.inputs import thumbnail
from knet.report.metric_sections import images_to_show, patient_rows
from knet.runs.record import Execution, RunRecord
from knet.runs.registry import StoredStatistics

_LONGEST = 240  # pixels of a thumbnail's side
_SEARCH = ("*.csv", "*.json", "*.svg")  # files; the logs for TensorBoard stay where they are


def copy_report_inputs(
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
    from knet.training.dataset import ingested_examples

    predictions = read_predictions(folder / run_files.PREDICTIONS / f"{winner}.parquet")
    wanted = set(images_to_show(patient_rows(predictions[predictions[schema_names.SPLIT] == "test"])))
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


def export_results(
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


def write_data_page(
    path: Path,
    executions: Mapping[str, Execution],
    *,
    record: RunRecord,
    classes: Sequence[str],
    previous: StoredStatistics | None,
) -> None:
    """Writes the page, and beside it what is wrong as JSON.

    DataGate's own outputs are not needed, which are gone where it failed.

    Args:
        path: of the page.
        executions: by node, ExampleValidator's and those before it among them.
        record: of the run.
        classes: their names, in the order of the labels.
        previous: what DataGate looked for drift from.
    """
    statistics = executions["StatisticsGen"].outputs["statistics"].uri
    with local_copy(previous.folder) if previous else nullcontext() as drifted_from:
        judgement = validate_data(
            anomalies=executions["ExampleValidator"].outputs["anomalies"].uri,
            statistics=statistics,
            schema=executions["ImportSchemaGen"].outputs["schema"].uri / "schema.pbtxt",
            previous=drifted_from,
            classes=classes,
        )
        sets = read_statistics(statistics)
        if previous and drifted_from:
            sets[f"train of run {previous.run_id}"] = read_statistics(drifted_from)["train"]
    write_page(
        path,
        title=f"{record.name}, run {record.run_id}",
        synthetic=record.data.synthetic,
        judgement=judgement,
        statistics=sets,
    )
    findings = json.dumps(asdict(judgement), indent=2)
    path.with_name(run_files.FINDINGS).write_text(findings, encoding="utf-8")


def explain_winner(model: Path, examples: Path, folder: Path, *, count: int, kept: Path) -> None:
    """Has `write_explanations` fill a folder of the run, or copies what it wrote for an earlier one.

    Args:
        model: folder of the winner's Model artifact, which never changes.
        examples: folder of the ingested examples of the test split, likewise.
        folder: where; must not exist.
        count: images of each kind.
        kept: folder for the explanations of all runs.
    """
    from knet.evaluation.explanations import EXPLANATIONS, write_explanations

    code = code_digest("knet.evaluation.explanations")
    own = kept / text_digest(str(model), str(examples), str(count), code)
    if not (own / EXPLANATIONS).is_file():
        write_explanations(model, examples, own, count=count)
    shutil.copytree(own, folder)
