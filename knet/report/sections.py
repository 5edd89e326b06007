"""Sections of the report page on the run, its data, candidates and model card."""

from __future__ import annotations

from typing import Final

import yaml

from knet.base import schema_names
from knet.report.charts import Bar, bar_chart, interval_mark
from knet.report.inputs import Inputs, Section, verdict
from knet.report.queries import lineage_steps


def summary(inputs: Inputs) -> Section:
    """Return the verdict and the main metrics of the winner."""
    record = inputs.record
    return Section(
        "summary",
        "Summary",
        {
            "verdict": verdict(record),
            "metrics": inputs.metrics(record.winner, schema_names.TEST),
            "gated": record.config["gate"]["minimum"] != {} or record.config["gate"]["margin"] is not None,
            "seconds": sum(node.seconds for node in record.nodes),
            "patients": sum(record.data.patients.values()),
            "images": sum(record.data.images.values()),
        },
    )


_CANDIDATES_TITLE = "Candidates"
_METRICS = {
    "accuracy": "accuracy (images)",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "calibration_error": "calibration error",
    "brier": "Brier score",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patient decision accuracy",
}


def candidates(inputs: Inputs) -> Section:
    """Return the selection, and all metrics with intervals on test and validation patients."""
    if inputs.results is None or inputs.decision is None:
        return Section(
            "candidates", _CANDIDATES_TITLE, missing="The run ended before the candidates were compared."
        )
    names = inputs.compared
    chosen = [
        {
            "title": inputs.record.candidates[name].info.title,
            "mark": interval_mark(found["value"], found["low"], found["high"]),
            **found,
        }
        for name, found in ((name, inputs.decision["candidates"][name]) for name in names)
    ]
    return Section(
        "candidates",
        _CANDIDATES_TITLE,
        {
            "names": names,
            "chosen": chosen,
            "failures": inputs.record.failures,
            "decision": inputs.decision,
            "titles": _METRICS,
            "positive": inputs.record.config["data"]["classes"][1],
            "splits": {
                split: {name: inputs.metrics(name, split) for name in names}
                for split in reversed(schema_names.EVALUATED_SPLITS)
            },
            "resamples": inputs.results["resamples"],
        },
    )


_UNREAD = "The run ended before the data were read."


def data(inputs: Inputs) -> Section:
    """Return images and patients by split and class, and the files that were not ingested."""
    record = inputs.record
    ingest = record.ingest
    if not record.data.fingerprint:
        return Section("data", "Data and split", missing=_UNREAD)
    return Section(
        "data",
        "Data and split",
        {
            "data": record.data,
            "ingest": ingest,
            "splits": schema_names.SPLITS,
            "classes": record.config["data"]["classes"],
            "split_settings": record.config["data"]["split"],
            "data_page": inputs.data_page,
        },
    )


def anomalies(inputs: Inputs) -> Section:
    """Return deviations from the schema, and drift since the last successful run."""
    if inputs.validation is None:
        return Section("anomalies", "Anomalies", missing="The run ended before the data were validated.")
    return Section("anomalies", "Anomalies", {**inputs.validation, "data_page": inputs.data_page})


def configuration(inputs: Inputs) -> Section:
    """Return the whole configuration, as `knet run --config` reads it."""
    text = yaml.safe_dump(inputs.record.config, sort_keys=False, allow_unicode=True)
    return Section("configuration", "Configuration", {"text": text})


def lineage(inputs: Inputs) -> Section:
    """Return the lineage from the data to the served version, and the artifacts in MLMD."""
    return Section("lineage", "Lineage", {"steps": lineage_steps(inputs.record), "artifacts": inputs.lineage})


def model_card(inputs: Inputs) -> Section:
    """Return intended use, limits and licences of the model."""
    record = inputs.record
    if not record.data.fingerprint:
        return Section("model_card", "Model card", missing=_UNREAD)
    winner = record.candidates.get(record.winner) if record.winner else None
    breakhis = "subtype" in record.data.columns and "magnification" in record.data.columns
    return Section(
        "model_card",
        "Model card",
        {
            "run": record,
            "info": winner.info if winner else None,
            "head": _HEADS[winner.info.head] if winner else None,
            "breakhis": breakhis,
        },
    )


_HEADS = {"parallel": "a CNN and an LSTM branch", "serial": "an LSTM branch", "none": "a CNN branch"}


def nodes(inputs: Inputs) -> Section:
    """Return state and duration of the nodes, in the order of completion."""
    records = inputs.record.nodes
    if not records:
        return Section("nodes", "Duration of the nodes", missing="No node of the pipeline completed.")
    longest = max(node.seconds for node in records)
    return Section(
        "nodes",
        "Duration of the nodes",
        {"nodes": records, "longest": longest or 1.0, "total": sum(node.seconds for node in records)},
    )


_PAPER_TITLE = "Comparison with the paper"
# Accuracy on test images, split by image. The paper gives no number for VGG16 and no result for ResNet50.
PAPER_ACCURACY: Final = {"mobilenet": 0.74, "resnet101": 0.90, "resnet152": 0.92}
_CITATION: Final = "Dsouza & Ansari, Applied Computer Science 18(1), 2022"
YEAR: Final = {  # of publication of the backbone
    "vgg16": 2014,
    "resnet50": 2015,
    "resnet101": 2015,
    "resnet152": 2015,
    "mobilenet": 2017,
    "efficientnetv2b0": 2021,
}


def paper(inputs: Inputs) -> Section:
    """Return each candidate's test accuracy beside the paper's, with year, parameters and FLOPs."""
    candidates = inputs.record.candidates
    if not candidates:
        return Section("paper", _PAPER_TITLE, missing="No candidate completed its training in this run.")
    backbones = {name: found.info.backbone or name for name, found in candidates.items()}
    ours = {name: inputs.metrics(name, schema_names.TEST).get("accuracy") for name in candidates}
    groups = [
        (
            name,
            [
                _our_bar(found),
                Bar(PAPER_ACCURACY.get(backbones[name]), _paper_text(backbones[name]), colour=2, hollow=True),
            ],
        )
        for name, found in ours.items()
    ]
    values = "; ".join(
        f"{name}: ours {_our_bar(found).text}, the paper's {_paper_text(backbones[name])}"
        for name, found in ours.items()
    )
    return Section(
        "paper",
        _PAPER_TITLE,
        {
            "chart": bar_chart(
                groups, axis="accuracy on test images", label=f"Accuracy on test images. {values}"
            ),
            "citation": _CITATION,
            "candidates": candidates,
            "year": {name: YEAR[backbone] for name, backbone in backbones.items() if backbone in YEAR},
            "synthetic": inputs.record.data.synthetic,
        },
    )


def _our_bar(found: dict[str, float | None] | None) -> Bar:
    value = found["value"] if found else None
    if found is None or value is None:
        return Bar(None, "not evaluated", colour=1)
    low, high = found["low"], found["high"]
    interval = None if low is None or high is None else (low, high)
    return Bar(value, f"{value:.3f}", colour=1, interval=interval)


def _paper_text(backbone: str) -> str:
    return f"{PAPER_ACCURACY[backbone]:.2f}" if backbone in PAPER_ACCURACY else "no number given"


_TUNING_TITLE = "Tuning"


def tuning(inputs: Inputs) -> Section:
    """Return the best values, trials and plots of each search."""
    if inputs.record.config.get("tuning") is None:
        return Section(
            "tuning",
            _TUNING_TITLE,
            missing="No search was configured (tuning is null): every candidate used the values in training.",
        )
    if not inputs.searches:
        return Section(
            "tuning", _TUNING_TITLE, missing="There are no trials: the run ended before a search completed."
        )
    return Section("tuning", _TUNING_TITLE, {"searches": inputs.searches})
