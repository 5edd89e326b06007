"""Sections of the report page on the run, its data, candidates and model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from knet.base import schema_names
from knet.base.text import list_names
from knet.data import breakhis
from knet.evaluation.multiclass_metrics import GROUP_PREFIX
from knet.report import published
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
            "cards": _cards(inputs.metrics(record.winner, schema_names.TEST)),
            "few": _small_classes(inputs),
            "evaluated": bool(inputs.metrics(record.winner, schema_names.TEST)),
            "gated": record.config["gate"]["minimum"] != {} or record.config["gate"]["margin"] is not None,
            "seconds": sum(node.seconds for node in record.nodes),
            "patients": sum(record.data.patients.values()),
            "images": sum(record.data.images.values()),
        },
    )


_FEW_PATIENTS: Final = 5  # of a class; an interval from fewer is named


def _small_classes(inputs: Inputs) -> dict[str, int]:
    """Return the number of test patients of each class with few of them, by class."""
    found = inputs.slices(inputs.record.winner, schema_names.TEST)
    return (
        {name: count for name, count in found[0]["patients"].items() if count < _FEW_PATIENTS}
        if found
        else {}
    )


# Metrics of the winner on test patients, of which a run has those of its number of classes.
_CARDS = {
    "balanced_accuracy": "Balanced accuracy",
    "roc_auc": "ROC-AUC",
    "macro_roc_auc": "Macro ROC-AUC",
    "patient_decision_accuracy": "Patient decision accuracy",
    "positive_recall": "Recall of the positive group",
}


def _cards(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return title and estimate of the main metrics."""
    if not metrics:
        return [(_CARDS[name], None) for name in ("balanced_accuracy", "patient_decision_accuracy")]
    return [(title, metrics[name]) for name, title in _CARDS.items() if name in metrics]


_CANDIDATES_TITLE = "Candidates"
# Titles of the metrics of two classes,
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
# and of more than two.
_CLASS_METRICS = {
    "accuracy": "accuracy (images)",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
    "weighted_f1": "weighted F1",
    "macro_roc_auc": "macro ROC-AUC",
    "macro_pr_auc": "macro PR-AUC",
    "cohen_kappa": "Cohen's kappa",
    "log_loss": "log loss (nats)",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patient decision accuracy",
}


def _metric_tables(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the titles of the metrics by name, with a remark; a positive group has a table of them."""
    if len(inputs.classes) == 2:
        remark = f"precision, recall and F1 are of {inputs.positive}"
        return [{"heading": "", "remark": remark, "titles": _METRICS}]
    remark = "macro: mean over the classes, each against the others; weighted: mean over the images"
    tables = [{"heading": "", "remark": remark, "titles": _CLASS_METRICS}]
    if inputs.group:
        heading = f"The positive group, {list_names(inputs.group)}, against the other classes"
        titles = {f"{GROUP_PREFIX}{name}": title for name, title in _METRICS.items()}
        tables.append({"heading": heading, "remark": "of the positive group", "titles": titles})
    return tables


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
            "tables": _metric_tables(inputs),
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
            # Two classes have columns, more have a table.
            "counted": inputs.classes if ingest and len(inputs.classes) == 2 else [],
            "by_class": inputs.classes if ingest and len(inputs.classes) > 2 else [],
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
    return Section(
        "model_card",
        "Model card",
        {
            "run": record,
            "info": winner.info if winner else None,
            "head": _HEADS[winner.info.head] if winner else None,
            "breakhis": _is_breakhis(inputs),
            "classes": list_names(inputs.classes),
            "group": list_names(inputs.group) if inputs.group else "",
        },
    )


def _is_breakhis(inputs: Inputs) -> bool:
    """Return whether the images are those of BreaKHis, or synthetic ones in their place."""
    return {"subtype", "magnification"} <= set(inputs.record.data.columns)


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


def paper(inputs: Inputs) -> Section | None:
    """Return each candidate's test accuracy beside the paper's, with year, parameters and FLOPs.

    None for other images than BreaKHis, or other classes: the paper has no result of them.
    """
    if inputs.record.data.fingerprint and not (
        _is_breakhis(inputs) and tuple(inputs.classes) == breakhis.CLASSES
    ):
        return None
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
                Bar(
                    published.ACCURACY.get(backbones[name]),
                    published.accuracy_text(backbones[name]),
                    colour=2,
                    hollow=True,
                ),
            ],
        )
        for name, found in ours.items()
    ]
    values = "; ".join(
        f"{name}: ours {_our_bar(found).text}, the paper's {published.accuracy_text(backbones[name])}"
        for name, found in ours.items()
    )
    return Section(
        "paper",
        _PAPER_TITLE,
        {
            "chart": bar_chart(
                groups, axis="accuracy on test images", label=f"Accuracy on test images. {values}"
            ),
            "citation": published.CITATION,
            "protocol": published.PROTOCOL,
            "candidates": candidates,
            "year": {
                name: published.YEAR[backbone]
                for name, backbone in backbones.items()
                if backbone in published.YEAR
            },
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
