"""Measurement of a leak: the same candidates, split by image, by slide folder and by patient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
from rich.console import Console

from knet.base import schema_names
from knet.base.digests import git_commit
from knet.base.files import atomic_write
from knet.base.split_units import PATIENT, UNITS, SplitUnit
from knet.evaluation.bootstrap import estimate_from_draws, resample_patients
from knet.runs.record import Data
from pipeline.config.config import Config
from pipeline.experiments.folds import FOLD, SEED, CrossValidation, LoadConfig, cross_validate
from pipeline.experiments.folds_page import (
    RESAMPLES,
    estimate_as_json,
    format_interval,
    mean_metrics,
    metric_titles,
    sample_of,
)
from pipeline.experiments.provenance import host_description, published_config

PAGE, FIGURES = "leak.md", "leak.json"
_COLUMNS: Final[tuple[SplitUnit, ...]] = tuple(reversed(UNITS))  # of the table: patients last


def measure_leak(
    load: LoadConfig, data: Data, *, folds: int, repeats: int, probe: str | None, console: Console
) -> dict[SplitUnit, CrossValidation]:
    """Cross-validate the candidates with each unit of the split.

    Args:
        load: returns the configuration with some overrides.
        data: the data.
        folds: number of folds.
        repeats: number of seeds, from that of the configuration.
        probe: candidate whose frozen backbone gets a linear probe; None: no probe.
        console: shows every step.

    Raises:
        UserError: the data are not usable, or a training failed.
    """
    experiments = {}
    for unit in _COLUMNS:
        split = [f"data.split.unit={unit}", "data.split.allow_patient_leak=true"]

        def load_split(further: Sequence[str], split: Sequence[str] = split) -> Config:
            return load([*split, *further])

        console.print(f"split by {unit}")
        experiments[unit] = cross_validate(
            load_split, data, folds=folds, repeats=repeats, probe=probe, console=console
        )
    return experiments


def write_leak_page(folder: Path, experiments: Mapping[SplitUnit, CrossValidation]) -> Path:
    """Write `leak.md` and the figures as `leak.json`; return the page's path.

    Args:
        folder: folder to write to.
        experiments: by unit of the split, of the same images.
    """
    results = summarize_leak(experiments)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["interval"] = format_interval
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "leak.md.jinja").read_text(encoding="utf-8")
    )
    atomic_write(folder / FIGURES, json.dumps(results, indent=1) + "\n")
    atomic_write(
        folder / PAGE, template.render(**results, figures=FIGURES, reference=PATIENT).rstrip() + "\n"
    )
    return folder / PAGE


def summarize_leak(experiments: Mapping[SplitUnit, CrossValidation]) -> dict[str, Any]:
    """Return the metrics of every candidate by unit, and their differences from a split by patient, as JSON.

    Args:
        experiments: by unit of the split, of the same images.
    """
    honest = experiments[PATIENT]
    titles = metric_titles(honest.config.data)
    sample = sample_of(honest, candidate=honest.names[0], seed=honest.seeds[0])
    weights = resample_patients(sample.strata, resamples=RESAMPLES, seed=honest.config.seed)
    candidates: dict[str, dict[str, Any]] = {name: {} for name in honest.names}
    for name, by_unit in candidates.items():
        drawn, values = {}, {}
        for unit, experiment in experiments.items():
            samples = [sample_of(experiment, candidate=name, seed=seed) for seed in experiment.seeds]
            values[unit] = mean_metrics([one.metrics() for one in samples])
            drawn[unit] = mean_metrics([one.weighted_metrics(weights) for one in samples])
        for unit in experiments:
            by_unit[unit] = {
                metric: {
                    "estimate": estimate_as_json(
                        estimate_from_draws(values[unit][metric], drawn[unit][metric])
                    ),
                    "difference": estimate_as_json(
                        estimate_from_draws(
                            float(values[unit][metric] - values[PATIENT][metric]),
                            drawn[unit][metric] - drawn[PATIENT][metric],
                        )
                    ),
                }
                for metric in titles
            }
    return {
        "images": len(sample.images),
        "patients": len(sample.patients),
        "units": list(experiments),
        "metrics": titles,
        "candidates": candidates,
        "leaked": {unit: leaked_share(experiment.predictions) for unit, experiment in experiments.items()},
        "folds": honest.folds,
        "seeds": list(honest.seeds),
        "resamples": RESAMPLES,
        "source": honest.data.source.name,
        "synthetic": honest.data.synthetic,
        "fingerprint": honest.data.fingerprint,
        "config": published_config(honest.config),
        "host": host_description(),
        "commit": git_commit(),
    }


def leaked_share(predictions: pd.DataFrame) -> float:
    """Return the share of test images whose patient has images in other folds too.

    Args:
        predictions: of every image, with seed and fold; of one candidate or several.
    """
    folds = predictions.groupby([SEED, schema_names.PATIENT])[FOLD].transform("nunique")
    return float((folds > 1).mean())
