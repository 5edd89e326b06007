"""Results of a cross-validation: metrics, paired differences, a chart, as Markdown, JSON and Parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from knet.base import schema_names
from knet.base.digests import git_commit
from knet.base.files import atomic_write
from knet.base.split_units import leak_warning
from knet.base.text import format_duration
from knet.data.settings import DataConfig
from knet.evaluation.bootstrap import Estimate, estimate_from_draws, resample_patients
from knet.evaluation.multiple_comparisons import bootstrap_p_value, holm_adjusted
from knet.evaluation.predictions import prediction_sample, write_predictions
from knet.evaluation.sample import Sample
from pipeline.experiments.external import MODELS
from pipeline.experiments.folds import FOLD, SEED, CrossValidation
from pipeline.experiments.folds_folder import PROBE
from pipeline.experiments.provenance import host_description, published_config

# Titles of the metrics by name.
_COMMON: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patient accuracy",
}
METRICS: Final = {**_COMMON, "roc_auc": "ROC-AUC"}  # of two classes
MULTICLASS_METRICS: Final = {**_COMMON, "macro_f1": "macro F1", "macro_roc_auc": "macro ROC-AUC"}
GROUP_METRICS: Final = {  # of the positive group of more than two classes
    "positive_balanced_accuracy": "balanced accuracy, group",
    "positive_roc_auc": "ROC-AUC, group",
}
# By paired differences, and drawn.
COMPARED: Final = ("balanced_accuracy", "roc_auc")
MULTICLASS_COMPARED: Final = ("balanced_accuracy", "macro_roc_auc")
RESAMPLES: Final = 10_000  # of patients; their number bounds the p-value that is left after the correction
SIGNIFICANCE: Final = 0.05
PAGE, FIGURES, CHART, PREDICTIONS = "folds.md", "folds.json", "folds.svg", "predictions.parquet"
EXTERNAL_PREDICTIONS: Final = "external.parquet"


def write_folds_page(folder: Path, experiment: CrossValidation, *, baseline: str | None) -> Path:
    """Write page, chart, figures and predictions.

    Args:
        folder: folder to write to.
        experiment: the cross-validation.
        baseline: candidate that every other is compared with; None: each with each.

    Returns:
        Path of the page.
    """
    results = summarize(experiment, baseline=baseline)
    write_predictions(experiment.predictions, folder / PREDICTIONS)
    if experiment.external_predictions is None:
        (folder / EXTERNAL_PREDICTIONS).unlink(missing_ok=True)
    else:
        write_predictions(experiment.external_predictions, folder / EXTERNAL_PREDICTIONS)
    atomic_write(folder / FIGURES, json.dumps(results, indent=1) + "\n")
    atomic_write(folder / CHART, draw_candidates(results))
    atomic_write(folder / PAGE, render_page(results))
    return folder / PAGE


def summarize(experiment: CrossValidation, *, baseline: str | None) -> dict[str, Any]:
    """Return metrics of every candidate with intervals, and their differences, as JSON.

    Args:
        experiment: the cross-validation.
        baseline: candidate that every other is compared with; None: each with each.
    """
    names, titles = experiment.names, metric_titles(experiment.config.data)
    samples = {
        name: [sample_of(experiment, candidate=name, seed=seed) for seed in experiment.seeds]
        for name in names
    }
    figures = _figures(samples, experiment, baseline=baseline)
    candidates = {
        name: {
            **figures["candidates"][name],
            "spread": _spread(folds := _folds(experiment, name, titles), titles),
            "folds": folds,
            "misclassified": _misclassified(samples[name]),
        }
        for name in names
    }
    return {
        **figures,
        "candidates": candidates,
        "external": _external(experiment, baseline=baseline),
        "metrics": titles,
        "baseline": baseline,
        "folds": experiment.folds,
        "seeds": list(experiment.seeds),
        "resamples": RESAMPLES,
        "significance": SIGNIFICANCE,
        "source": experiment.data.source.name,
        "synthetic": experiment.data.synthetic,
        "fingerprint": experiment.data.fingerprint,
        "config": published_config(experiment.config),
        "host": host_description(),
        "commit": git_commit(),
    }


def _figures(
    samples: Mapping[str, Sequence[Sample]], experiment: CrossValidation, *, baseline: str | None
) -> dict[str, Any]:
    """Return counts, metrics with intervals and differences.

    Args:
        samples: of each candidate, one for each repeat, in which every image is predicted once.
        experiment: has titles of metrics, classes and seed.
        baseline: candidate that every other is compared with; None: each with each.
    """
    names, titles = list(samples), metric_titles(experiment.config.data)
    sample = samples[names[0]][0]
    weights = resample_patients(sample.strata, resamples=RESAMPLES, seed=experiment.config.seed)
    values = {name: mean_metrics([one.metrics() for one in samples[name]]) for name in names}
    drawn = {name: mean_metrics([one.weighted_metrics(weights) for one in samples[name]]) for name in names}
    pairs = list(combinations(names, 2))
    if baseline is not None:
        pairs = [(name, baseline) for name in names if name != baseline]
    counts = np.bincount(sample.labels)
    return {
        "images": len(sample.images),
        "patients": len(sample.patients),
        "majority": experiment.config.data.classes[int(counts.argmax())],
        "majority_share": float(counts.max() / counts.sum()),
        "candidates": {
            name: {
                "metrics": {
                    metric: estimate_as_json(estimate_from_draws(values[name][metric], drawn[name][metric]))
                    for metric in titles
                }
            }
            for name in names
        },
        "differences": _differences(pairs, values, drawn, compared=_compared(titles)),
    }


def _external(experiment: CrossValidation, *, baseline: str | None) -> dict[str, Any] | None:
    """Return the figures of the external images, and how many patients are in a fold; None without images."""
    images, rows = experiment.external, experiment.external_predictions
    if images is None or rows is None:
        return None
    parts = {name: rows[rows[schema_names.CANDIDATE] == name] for name in experiment.names}
    samples = {
        name: [_sample(part[part[SEED] == seed], experiment.config.data) for seed in experiment.seeds]
        for name, part in parts.items()
    }
    return {
        **_figures(samples, experiment, baseline=baseline),
        "known_patients": int(rows.loc[rows[MODELS] == 1, schema_names.PATIENT].nunique()),
        "unusable": images.unusable,
        "source": images.source,
        "synthetic": images.synthetic,
    }


def metric_titles(data: DataConfig) -> dict[str, str]:
    """Return the titles of the metrics by name."""
    if len(data.classes) == 2:
        return METRICS
    return MULTICLASS_METRICS | (GROUP_METRICS if data.positive else {})


def _compared(titles: Mapping[str, str]) -> Sequence[str]:
    return COMPARED if titles == METRICS else MULTICLASS_COMPARED


def _rows(experiment: CrossValidation, **wanted: Any) -> pd.DataFrame:
    rows = experiment.predictions
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows


def sample_of(experiment: CrossValidation, **wanted: Any) -> Sample:
    """Return the predictions with these values of `candidate`, `seed` or `fold`."""
    return _sample(_rows(experiment, **wanted), experiment.config.data)


def _sample(rows: pd.DataFrame, data: DataConfig) -> Sample:
    return prediction_sample(rows, classes=data.classes, positive=data.positive or ())


def mean_metrics(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each metric over the repeats."""
    return {name: np.mean([one[name] for one in metrics], axis=0) for name in metrics[0]}


def _folds(experiment: CrossValidation, name: str, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return for each seed and fold what was chosen on validation patients, and the test metrics."""
    rows = []
    for training in experiment.trainings:
        if training["candidate"] == name:
            part = {SEED: training[SEED], FOLD: training[FOLD]}
            metrics = sample_of(experiment, candidate=name, **part).metrics()
            choice = {key: value for key, value in training.items() if key not in ("candidate", "cached")}
            rows.append({**choice, **{metric: _number(metrics[metric]) for metric in titles}})
    return rows


def _spread(folds: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> dict[str, list[float | None]]:
    """Return mean and standard deviation of each metric over folds and seeds, where it is defined."""
    spread: dict[str, list[float | None]] = {}
    for metric in titles:
        defined = [fold[metric] for fold in folds if fold[metric] is not None]
        mean = float(np.mean(defined)) if defined else None
        spread[metric] = [mean, float(np.std(defined, ddof=1)) if len(defined) > 1 else None]
    return spread


def _misclassified(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Return the wrong and all predictions, over all seeds, of patients with more wrong than right ones."""
    wrong = np.sum([one.sum_by_patient(~one.correct) for one in samples], axis=0)
    count = np.sum([one.sum_by_patient(np.ones(len(one.images))) for one in samples], axis=0)
    rows = zip(samples[0].patients.tolist(), wrong, count, strict=True)
    return {patient: [int(errors), int(size)] for patient, errors, size in rows if 2 * errors > size}


def _differences(
    pairs: Sequence[tuple[str, str]],
    values: Mapping[str, Any],
    drawn: Mapping[str, Any],
    *,
    compared: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the difference of each pair in each compared metric, first minus second."""
    rows: list[dict[str, Any]] = []
    for first, second in pairs:
        for metric in compared:
            draws = drawn[first][metric] - drawn[second][metric]
            value = float(values[first][metric] - values[second][metric])
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": metric,
                    "difference": estimate_as_json(estimate_from_draws(value, draws)),
                    "p_value": bootstrap_p_value(draws),
                }
            )
    for row, adjusted in zip(rows, holm_adjusted([row["p_value"] for row in rows]), strict=True):
        row |= {"p_value": _number(row["p_value"]), "adjusted_p_value": _number(adjusted)}
    return rows


def estimate_as_json(estimate: Estimate) -> list[float | None]:
    """Return value, low and high; null where undefined."""
    return [_number(estimate.value), _number(estimate.low), _number(estimate.high)]


def _number(value: float) -> float | None:
    """Return a number as JSON has it: null where undefined."""
    return None if math.isnan(value) else float(value)


def render_page(results: Mapping[str, Any]) -> str:
    """Return the Markdown page of the results of `summarize`."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "interval": format_interval,
        "spread": _mean_and_deviation,
        "verdict": _verdict,
        "choice": _choice,
        "settings": _settings,
        "duration": format_duration,
        "p_value": _p_value,
    }
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "folds.md.jinja").read_text(encoding="utf-8")
    )
    misclassified = {p for candidate in results["candidates"].values() for p in candidate["misclassified"]}
    page = template.render(
        **results,
        leak=leak_warning(results["config"]["data"]["split"]["unit"]),
        misclassified=sorted(misclassified),
        chart=CHART,
        figures=FIGURES,
        probe=PROBE,
    )
    return page.rstrip() + "\n"


_UNDEFINED: Final = "undefined"


def format_interval(estimate: Sequence[float | None], *, sign: bool = False) -> str:
    """Return value, low and high as text, optionally with signs."""
    if None in estimate:
        return _UNDEFINED
    value, low, high = (f"{number:+.3f}" if sign else f"{number:.3f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _mean_and_deviation(spread: Sequence[float | None]) -> str:
    return _UNDEFINED if None in spread else f"{spread[0]:.3f} ± {spread[1]:.3f}"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["adjusted_p_value"] is None:
        return _UNDEFINED
    if row["adjusted_p_value"] >= SIGNIFICANCE:
        return "no difference found"
    return f"{row['first' if row['difference'][0] > 0 else 'second']} is better"


def _p_value(value: float | None) -> str:
    return _UNDEFINED if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _choice(fold: Mapping[str, Any]) -> str:
    return f"C {fold['c']:g}" if "c" in fold else f"{fold['learning_rate']:.3g}, epoch {fold['best_epoch']}"


def _settings(candidate: Mapping[str, Any]) -> str:
    """Return a candidate's own settings in one line."""
    own = {name: value for name, value in candidate.items() if value not in (None, {}, [])}
    return json.dumps(own).replace('"', "").removeprefix("{").removesuffix("}")


def draw_candidates(results: Mapping[str, Any]) -> str:
    """Return an SVG chart: the compared metrics of each candidate with intervals, and those of each fold."""
    names = list(results["candidates"])
    compared = _compared(results["metrics"])
    size = (2.5 + 3.4 * len(compared), 1.2 + 0.42 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(1, len(compared), sharey=True)
    rows = np.arange(len(names))
    chance = {"balanced_accuracy": 1 / len(results["config"]["data"]["classes"])}
    for axes, metric in zip(grid, compared, strict=True):
        for row, name in enumerate(names):
            candidate = results["candidates"][name]
            dots = [fold[metric] for fold in candidate["folds"] if fold[metric] is not None]
            axes.plot(dots, [row] * len(dots), "o", color="0.6", markersize=4, alpha=0.6, zorder=1)
            value, low, high = candidate["metrics"][metric]
            if value is not None and low is not None and high is not None:
                axes.plot([low, high], [row + 0.22] * 2, color="C0", linewidth=2, zorder=2)
                axes.plot(value, row + 0.22, "D", color="C0", markersize=6, zorder=3)
        axes.axvline(chance.get(metric, 0.5), color="0.5", linestyle=":", linewidth=1)
        axes.set(xlim=(-0.02, 1.02), xlabel=results["metrics"][metric])
        axes.set_yticks(rows, names)
        axes.grid(axis="x", alpha=0.3)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "folds"}):  # the same results give the same file
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
