"""Copies results and report inputs from the artifacts into the run's folder, which outlives them."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from knet.base import artifact_files, node_ids, run_files, schema_names
from knet.base.digests import code_digest, folder_digest, text_digest
from knet.base.files import atomic_write
from knet.base.split_units import leak_warning
from knet.base.storage import Store, local_copy
from knet.data.validation import passed_report, read_statistics, validate_data
from knet.evaluation.predictions import FOLDER, read_predictions, write_predictions
from knet.report.data_page import render_data_page
from knet.report.inputs import thumbnail
from knet.report.patients import images_to_show, patient_rows
from knet.runs.record import Execution, OutputArtifact, RunRecord
from knet.runs.registry import StoredStatistics

_MAX_SIDE = 240  # pixels of a thumbnail
_SEARCH = ("*.csv", "*.json", "*.svg")  # files; the logs for TensorBoard stay where they are


def copy_report_inputs(
    folder: Path, executions: Mapping[str, Execution], *, candidates: Iterable[str], winner: str | None
) -> None:
    """Copy histories, search results, lineage, thumbnails and scalars, as far as the run got.

    Args:
        folder: of the run's report; it holds the winner's predictions already.
        executions: by node, those that succeeded.
        candidates: names of the trained candidates.
        winner: whose worst test images become thumbnails; None for a run without a winner, which has no
            thumbnails and no scalars of the training images either.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in candidates:
        history = executions[node_ids.trainer(name)].outputs["model_run"].uri / artifact_files.HISTORY
        _copy(history, folder / run_files.TRAINING / f"{name}.json")
    for node, execution in executions.items():
        if trials := execution.outputs.get("trials"):
            for file in (file for pattern in _SEARCH for file in trials.uri.glob(pattern)):
                _copy(file, folder / run_files.TUNING / node / file.name)
    _write(folder / run_files.LINEAGE, _artifacts(executions))
    if winner:
        examples = executions[node_ids.EXAMPLE_GEN].outputs["examples"].uri
        test_examples = examples / artifact_files.split_folder(schema_names.TEST)
        _write_thumbnails(folder, winner, test_examples)
        _copy(examples / artifact_files.TRAINING_SCALARS, folder / run_files.TRAINING_SCALARS)


def _write_thumbnails(folder: Path, winner: str, examples: Path) -> None:
    """Write the images that the report shows of the worst patients, as small JPEGs."""
    from knet.data.examples import ingested_examples

    predictions = read_predictions(folder / run_files.PREDICTIONS / f"{winner}.parquet")
    tested = predictions[predictions[schema_names.SPLIT] == schema_names.TEST]
    wanted = set(images_to_show(patient_rows(tested)))
    thumbnails = folder / run_files.THUMBNAILS
    thumbnails.mkdir(exist_ok=True)
    index: dict[str, str] = {}
    for example in ingested_examples(examples) if wanted else ():
        if example.path in wanted:
            index[example.path] = f"{len(index)}.jpg"
            (thumbnails / index[example.path]).write_bytes(thumbnail(example.image, max_side=_MAX_SIDE))
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
    folder: Path,
    executions: Mapping[str, Execution],
    *,
    candidates: Iterable[Any],
    failures: Mapping[str, str],
) -> dict[str, Path]:
    """Write `results.json`, `decision.json`, `gate.json` and the predictions, as far as the run got.

    Args:
        folder: of the run's report.
        executions: by node, those that succeeded.
        candidates: names of the candidates.
        failures: reasons by candidate that the run went without, which the decision states.

    Returns:
        The Parquet file of predictions by candidate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (node, output, inner) in {
        run_files.RESULTS: (node_ids.MODEL_SELECTOR, "results", ""),
        run_files.DECISION: (node_ids.MODEL_SELECTOR, "decision", ""),
        run_files.GATE: (node_ids.MODEL_GATE, "blessing", artifact_files.GATE),
    }.items():
        if node in executions:
            tree = executions[node].outputs[output].read_json(inner)
            if name == run_files.DECISION:
                # The artifact may be of an earlier run, in which they failed for other reasons.
                tree["missing"] = dict(failures)
            (folder / name).write_text(json.dumps(tree, indent=2, allow_nan=False), encoding="utf-8")
    files = {}
    for candidate in candidates:
        if (node := node_ids.evaluator(candidate)) in executions:
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
    """Write the data page, and the anomalies as JSON beside it.

    A DataGate that failed leaves no outputs: then the data are validated again.

    Args:
        path: of the page.
        executions: by node, up to ExampleValidator at least.
        record: of the run.
        classes: names of the classes, in the order of the labels.
        previous: statistics that DataGate compared with.
    """
    statistics = executions[node_ids.STATISTICS_GEN].outputs["statistics"].uri
    schema = executions[node_ids.SCHEMA_GEN].outputs["schema"].uri / artifact_files.SCHEMA
    with local_copy(previous.folder) if previous else nullcontext() as compared:
        if node_ids.DATA_GATE in executions:
            verdict = executions[node_ids.DATA_GATE].outputs["verdict"].read_json()
            report = passed_report(verdict["drift"], schema=schema)
        else:
            report = validate_data(
                anomalies=executions[node_ids.EXAMPLE_VALIDATOR].outputs["anomalies"].uri,
                statistics=statistics,
                schema=schema,
                previous=compared,
                classes=classes,
            )
        sets = read_statistics(statistics)
        if previous and compared:
            sets[f"train of run {previous.run_id}"] = read_statistics(compared)[schema_names.TRAIN]
    page = render_data_page(
        title=f"{record.name}, run {record.run_id}",
        synthetic=record.data.synthetic,
        leak=leak_warning(record.config["data"]["split"]["unit"]),
        report=report,
        statistics=sets,
        link=run_files.PAGE,
    )
    atomic_write(path, page)
    path.with_name(run_files.VALIDATION).write_text(report.to_json(), encoding="utf-8")


def explain_winner(
    model: OutputArtifact, examples: OutputArtifact, folder: Path, *, count: int, cache: Store
) -> None:
    """Write explanations of the winner's predictions, or copy those of an earlier run on equal artifacts.

    Args:
        model: the winner's Model artifact.
        examples: of ExampleGen; the images are those of its test split.
        folder: receives the explanations; must not exist.
        count: images of each kind.
        cache: explanations of all runs.
    """
    code = code_digest("knet.evaluation.explanations")
    images = examples.uri / artifact_files.split_folder(schema_names.TEST)
    key = text_digest(folder_digest(model.uri), folder_digest(images), str(count), code)
    packed = cache.read(f"{key}.zip")
    if packed is None:
        from knet.evaluation.explanations import write_explanations  # with TensorFlow, which takes seconds

        write_explanations(model.uri, images, folder, count=count)
        packed = _pack(folder)
    else:
        zipfile.ZipFile(io.BytesIO(packed)).extractall(folder)
    cache.write(f"{key}.zip", packed)  # also if it is there: `knet cache` removes files that are not used


def _pack(folder: Path) -> bytes:
    """Return the files of a folder as a ZIP archive, uncompressed, since most are pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return buffer.getvalue()
