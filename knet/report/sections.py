"""Sections of the report on the run: summary, candidates, data, configuration, lineage, model card, nodes."""

from __future__ import annotations

import yaml

from knet.base import schema_names
from knet.report.charts import Bar, bar_chart, interval_mark
from knet.report.inputs import ACCURACY, CITATION, YEAR, Inputs, Section, verdict
from knet.report.queries import lineage_steps


def summary(inputs: Inputs) -> Section:
    """The verdict, and the figures that a reader looks for first."""
    record = inputs.record
    return Section(
        "summary",
        "Summary",
        {
            "verdict": verdict(record),
            "metrics": inputs.metrics(record.winner, schema_names.TEST),
            "gated": bool(record.config["gate"]["minimum"]) or record.config["gate"]["margin"] is not None,
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
    """The decision, and all metrics with their intervals on test and on validation patients."""
    if inputs.results is None or inputs.decision is None:
        return Section(
            "candidates", _CANDIDATES_TITLE, missing="The run ended before the candidates were compared."
        )
    names = inputs.compared
    chosen = [
        {"name": name, "mark": interval_mark(found["value"], found["low"], found["high"]), **found}
        for name, found in ((name, inputs.decision["candidates"][name]) for name in names)
    ]
    return Section(
        "candidates",
        _CANDIDATES_TITLE,
        {
            "names": names,
            "chosen": chosen,
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


def data(inputs: Inputs) -> Section:
    """Images and patients by split and class, and what became of every other file."""
    record = inputs.record
    ingest = record.ingest
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
    """Deviations from the schema, and drift since the last successful run."""
    if inputs.findings is None:
        return Section("anomalies", "Anomalies", missing="The run ended before the data were judged.")
    return Section("anomalies", "Anomalies", {**inputs.findings, "data_page": inputs.data_page})


def configuration(inputs: Inputs) -> Section:
    """The whole tree, as `knet run --config` reads it."""
    text = yaml.safe_dump(inputs.record.config, sort_keys=False, allow_unicode=True)
    return Section("configuration", "Configuration", {"text": text})


def lineage(inputs: Inputs) -> Section:
    """From the data's fingerprint to the served version, and the artifacts in MLMD on the way."""
    return Section("lineage", "Lineage", {"steps": lineage_steps(inputs.record), "artifacts": inputs.lineage})


def model_card(inputs: Inputs) -> Section:
    """Intended use, limits and terms, with the figures of this run."""
    record = inputs.record
    winner = record.candidates.get(record.winner) if record.winner else None
    breakhis = "subtype" in record.data.columns and "magnification" in record.data.columns
    return Section(
        "model_card",
        "Model card",
        {"run": record, "info": winner.info if winner else None, "breakhis": breakhis},
    )


def nodes(inputs: Inputs) -> Section:
    """Nodes in the order in which they ended."""
    ran = inputs.record.nodes
    if not ran:
        return Section("nodes", "Seconds a node", missing="No node of the graph ended.")
    longest = max(node.seconds for node in ran)
    return Section(
        "nodes",
        "Seconds a node",
        {"nodes": ran, "longest": longest or 1.0, "total": sum(node.seconds for node in ran)},
    )


_TITLE = "Beside the paper"


def paper(inputs: Inputs) -> Section:
    """Accuracy on test images of each candidate, the paper's beside it; year, parameters and FLOPs."""
    candidates = inputs.record.candidates
    if not candidates:
        return Section("paper", _TITLE, missing="No candidate was trained to its end in this run.")
    ours = {name: inputs.metrics(name, schema_names.TEST).get("accuracy") for name in candidates}
    groups = [
        (name, [_ours(found), Bar(ACCURACY.get(name), _papers(name), colour=2, hollow=True)])
        for name, found in ours.items()
    ]
    told = "; ".join(
        f"{name}: ours {_ours(found).text}, the paper's {_papers(name)}" for name, found in ours.items()
    )
    return Section(
        "paper",
        _TITLE,
        {
            "chart": bar_chart(
                groups, axis="accuracy on test images", label=f"Accuracy on test images. {told}"
            ),
            "citation": CITATION,
            "candidates": candidates,
            "year": YEAR,
            "synthetic": inputs.record.data.synthetic,
        },
    )


def _ours(found: dict[str, float | None] | None) -> Bar:
    value = found["value"] if found else None
    if found is None or value is None:
        return Bar(None, "not evaluated", colour=1)
    low, high = found["low"], found["high"]
    interval = None if low is None or high is None else (low, high)
    return Bar(value, f"{value:.3f}", colour=1, interval=interval)


def _papers(name: str) -> str:
    return f"{ACCURACY[name]:.2f}" if name in ACCURACY else "no number given"


_TUNING_TITLE = "Tuning"


def tuning(inputs: Inputs) -> Section:
    """Of each search what was found, every trial, and the search's plots."""
    if inputs.record.config.get("tuning") is None:
        return Section(
            "tuning",
            _TUNING_TITLE,
            missing="Nothing was searched (tuning is null): every candidate used the values of training.",
        )
    if not inputs.searches:
        return Section(
            "tuning", _TUNING_TITLE, missing="There are no trials: the run ended before a search did."
        )
    return Section("tuning", _TUNING_TITLE, {"searches": inputs.searches})
