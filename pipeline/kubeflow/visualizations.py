"""Artifacts that Kubeflow's web interface shows: metrics, ROC, confusion matrix and HTML pages of nodes.

They exist on Kubeflow alone. The compiler declares them for the launcher; executors do not know them. The
interface reads metrics from the metadata of an artifact, and pages from its file. Beside a node it shows the
first 255 bytes of each file.
"""

from __future__ import annotations

import html
import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from knet.base import artifact_files, node_ids, run_files, schema_names
from knet.base.files import atomic_write
from knet.base.split_units import leak_warning
from knet.base.storage import local_copy
from pipeline.kubeflow.artifact_uris import launcher_path

if TYPE_CHECKING:
    from knet.runs.record import RunRecord

METRICS: Final = "system.Metrics"
CLASSIFICATION: Final = "system.ClassificationMetrics"
HTML: Final = "system.HTML"

# Types of the artifacts by kind of node and name.
ARTIFACT_TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    node_ids.DATA_GATE: {"data_page": HTML},
    node_ids.TRAINER: {"metrics": METRICS, "learning_curves": HTML},
    node_ids.MODEL_GATE: {"decision": METRICS},
    node_ids.RUN_REPORT: {"report": HTML, "metrics": METRICS, "test_metrics": CLASSIFICATION},
}


@dataclass(frozen=True)
class Visualization:
    """Content of an artifact.

    Attributes:
        text: of its file.
        metadata: of the artifact; undefined figures (None or NaN), which the store refuses, are left out.
    """

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], *, headline: str = "") -> Visualization:
        """Return metrics, with a file that lists them below a headline."""
        defined = {name: value for name, value in metrics.items() if _is_defined(value)}
        lines = [headline, *(f"{name}: {value}" for name, value in defined.items())]
        return cls("\n".join(filter(None, lines)) + "\n", defined)


def _is_defined(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class NodeFiles:
    """A node after its executor has ended.

    Attributes:
        name: of the node.
        inputs: paths of the input artifacts by name.
        outputs: paths of the output artifacts by name.
        properties: execution properties by name.
        run_id: Kubeflow's id of the run.
    """

    name: str
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    properties: Mapping[str, Any]
    run_id: str


def write_visualizations(
    message: Mapping[str, Any], node: str, draw: Callable[[], Mapping[str, Visualization]]
) -> dict[str, dict[str, Any]]:
    """Write the artifacts of a node that the launcher expects.

    A drawing that fails does not fail the node: its artifacts state the error.

    Args:
        message: the launcher's ExecutorInput as parsed JSON, with URIs of the object store.
        node: name of the node.
        draw: returns the visualizations by name of the artifact; not called if none is expected.

    Returns:
        ArtifactList messages as JSON by name, for the ExecutorOutput.
    """
    expected = message.get("outputs", {}).get("artifacts", {})
    names = [name for name in ARTIFACT_TYPES.get(node_ids.kind(node), {}) if name in expected]
    if not names:
        return {}
    try:
        drawn = draw()
    except Exception as error:
        logging.getLogger(__name__).exception("the artifacts %s could not be drawn", ", ".join(names))
        drawn = _draw_message(node, f"not drawn: {type(error).__name__}: {error}", {})
    made = {}
    for name in names:
        uri = expected[name]["artifacts"][0]["uri"]
        atomic_write(launcher_path(uri), drawn[name].text)
        made[name] = {"artifacts": [{"uri": uri, "metadata": dict(drawn[name].metadata)}]}
    return made


def _draw_message(node: str, text: str, metrics: Mapping[str, Any]) -> dict[str, Visualization]:
    """Return visualizations of a node that hold a message in place of their content."""
    return {
        name: Visualization(
            f"{html.escape(text) if title == HTML else text}\n", metrics if title == METRICS else {}
        )
        for name, title in ARTIFACT_TYPES[node_ids.kind(node)].items()
    }


def draw_failure(node: str, why: str) -> dict[str, Visualization]:
    """Return the visualizations of a node whose candidate failed: its container succeeds nevertheless.

    Args:
        node: name of the node.
        why: name of the node that failed, and its error.
    """
    return _draw_message(node, f"failed: {why}", {"failed": 1, "error": why})


def draw_node(node: NodeFiles) -> dict[str, Visualization]:
    """Return the visualizations of a TFX node by name of the artifact."""
    return _DRAWINGS[node_ids.kind(node.name)](node)


def _draw_data_gate(node: NodeFiles) -> dict[str, Visualization]:
    """Draw anomalies, drift and statistics as a page."""
    from knet.data.validation import passed_report, read_statistics
    from knet.report.data_page import render_data_page

    statistics = read_statistics(node.inputs["statistics"])
    previous = node.properties["previous_statistics"]
    with local_copy(previous) if previous else nullcontext() as folder:
        if folder:
            statistics["train of the last successful run"] = read_statistics(folder)[schema_names.TRAIN]
    verdict = json.loads(node.outputs["verdict"].read_text(encoding="utf-8"))
    page = render_data_page(
        title=f"Run {node.run_id}",
        synthetic=bool(node.properties["synthetic_data"]),
        report=passed_report(verdict["drift"], schema=node.inputs["schema"] / artifact_files.SCHEMA),
        statistics=statistics,
    )
    return {"data_page": Visualization(page)}


def _draw_trainer(node: NodeFiles) -> dict[str, Visualization]:
    """Draw the figures of the restored epoch, and loss and accuracy by epoch."""
    from knet.models.model_info import read_model_info
    from knet.report.metric_sections import learning_curves
    from knet.report.report import render_section

    info = read_model_info(node.outputs["model"])
    history = json.loads((node.outputs["model_run"] / artifact_files.HISTORY).read_text(encoding="utf-8"))
    best = history["epochs"][history["best_epoch"] - 1]
    metrics = {
        **{name: best.get(name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
        "best_epoch": history["best_epoch"],
        "epochs": info.epochs,
        "seconds": round(info.seconds, 1),
        "parameters": info.parameters,
        "learning_rate": info.learning_rate,
        **{
            name: value for name in ("momentum", "weight_decay") if (value := getattr(info, name)) is not None
        },
        **({"synthetic_data": 1} if info.synthetic_data else {}),
    }
    title = f"Learning curves{' (synthetic data)' if info.synthetic_data else ''}"
    leak = leak_warning(info.split_unit)
    page = render_section(learning_curves({info.candidate: history}), title=title, leak=leak)
    return {
        "metrics": Visualization.of_metrics(metrics),
        "learning_curves": Visualization(page),
    }


def _draw_model_gate(node: NodeFiles) -> dict[str, Visualization]:
    """Draw the decision, its reasons, and the difference to the model in production."""
    gate = json.loads((node.outputs["blessing"] / artifact_files.GATE).read_text(encoding="utf-8"))
    reasons = "; ".join(gate["reasons"])
    comparison = gate["comparison"] or {}
    difference = comparison.get("difference", {})
    metrics = {
        "passed": int(gate["blessed"]),
        "reasons": reasons or None,
        "notes": "; ".join(gate["notes"]) or None,
        "model": gate["model"],
        "compared_metric": comparison.get("metric"),
        "difference": difference.get("value"),
        "difference_low": difference.get("low"),
        "difference_high": difference.get("high"),
    }
    headline = "passed" if gate["blessed"] else f"did not pass: {reasons}"
    return {"decision": Visualization.of_metrics(metrics, headline=headline)}


_DRAWINGS: Final[Mapping[str, Callable[[NodeFiles], dict[str, Visualization]]]] = {
    node_ids.DATA_GATE: _draw_data_gate,
    node_ids.TRAINER: _draw_trainer,
    node_ids.MODEL_GATE: _draw_model_gate,
}

# Metrics of the winner on test patients that runs are compared by; a run has those of its number of classes.
_HEADLINE_METRICS = (
    "balanced_accuracy",
    "roc_auc",
    "macro_roc_auc",
    "macro_f1",
    "recall",
    "specificity",
    "patient_decision_accuracy",
    "positive_roc_auc",
    "positive_recall",
    "positive_specificity",
)


def draw_run(record: RunRecord, folder: Path) -> dict[str, Visualization]:
    """Return the visualizations of a finished run by name of the artifact.

    Args:
        record: its record.
        folder: of its report.
    """
    from knet.report.inputs import verdict

    outcome = verdict(record)
    found = record.candidates[record.winner].metrics.get(schema_names.TEST, {}) if record.winner else {}
    metrics = {
        "pushed": int(outcome.word == "pushed"),
        "verdict": f"{outcome.word}: {outcome.why}",
        "winner": record.winner,
        "version": record.pushed_version,
        **{f"test_{name}": found.get(name) for name in _HEADLINE_METRICS},
        "failed_candidates": ", ".join(record.failures) or None,
        **({"synthetic_data": 1} if record.data.synthetic else {}),
    }
    return {
        "report": Visualization((folder / run_files.PAGE).read_text(encoding="utf-8")),
        "metrics": Visualization.of_metrics(metrics, headline=str(metrics["verdict"])),
        "test_metrics": _draw_classification(record, folder),
    }


def _draw_classification(record: RunRecord, folder: Path) -> Visualization:
    """Draw the winner's ROC and confusion matrix on test images."""
    from knet.report.metric_sections import confusion_matrix

    if record.winner is None:
        return Visualization("no winner\n")
    results = json.loads((folder / run_files.RESULTS).read_text(encoding="utf-8"))
    test = results["candidates"][record.winner]["splits"][schema_names.TEST][0]  # the whole split
    matrix = {
        "annotationSpecs": [{"displayName": name} for name in record.config["data"]["classes"]],
        "rows": [{"row": row} for row in confusion_matrix(test["confusion"])],
    }
    roc = _roc_points(record, folder / run_files.PREDICTIONS / f"{record.winner}.parquet")
    text = f"{record.winner} on test images: ROC and confusion matrix are in the metadata\n"
    return Visualization(text, {"confusionMatrix": matrix, **({"confidenceMetrics": roc} if roc else {})})


def _roc_points(record: RunRecord, predictions: Path) -> list[dict[str, float]]:
    """Return the ROC on test images, of more than two classes that of the positive group.

    There is none without images of both classes, and without a positive group.
    """
    import numpy as np
    from sklearn import metrics

    from knet.evaluation.predictions import binary_predictions, read_predictions
    from knet.report.metric_sections import thinned_indices

    frame = read_predictions(predictions)
    tested = frame[frame[schema_names.SPLIT] == schema_names.TEST]
    classes, positive = record.config["data"]["classes"], record.config["data"].get("positive") or ()
    if tested.empty or (len(classes) > 2 and not positive):
        return []
    scores, labels = binary_predictions(tested, classes=classes, positive=positive)
    if len(np.unique(labels)) < 2:
        return []
    columns = metrics.roc_curve(labels, scores)
    indices = thinned_indices(len(columns[0]))
    return [
        {
            "confidenceThreshold": min(threshold, 1.0),  # the first, above every score, is infinite
            "falsePositiveRate": false_rate,
            "recall": recall,
        }
        for false_rate, recall, threshold in zip(
            *(np.asarray(column)[indices].tolist() for column in columns), strict=True
        )
    ]
