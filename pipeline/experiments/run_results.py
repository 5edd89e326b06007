"""Compares hybrid, its ablations and a linear probe on real images, by cross-validation over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipeline.commit import commit
from pipeline.config import Config
from pipeline.digest import file_digest
from pipeline.evaluation.bootstrap import RESAMPLES
from pipeline.experiments.arms import ARMS, PROBE
from pipeline.experiments.cross_validate import cross_validate
from pipeline.experiments.machine import machine
from pipeline.experiments.patients_of import patients_of
from pipeline.experiments.published_config import published_config
from pipeline.experiments.summarise import summarise


def run_results(config: Config, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Trains whatever was not trained before, and returns all figures as JSON can hold them.

    Args:
        config: `results.yaml` with the overrides.
        overrides: of it.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable.
    """
    data, folds = cross_validate(ARMS, overrides, console=console)
    titles = {arm.name: arm.title for arm in ARMS}
    labels = [label for fold in folds for label in fold.labels]
    weights = config.candidates["mobilenet"].weights_file
    return {
        **summarise(
            folds,
            patients=patients_of(config, data),
            arms=list(titles),
            against=PROBE.name,
        ),
        "titles": titles,
        "learning_rates": {arm.name: arm.learning_rates for arm in ARMS if arm.learning_rates},
        "majority": config.data.classes[2 * sum(labels) > len(labels)],
        "folds": len(folds),
        "resamples": RESAMPLES,
        "source": data.source.name,
        "synthetic": data.synthetic,
        "fingerprint": data.fingerprint,
        "weights": f"{weights.name} (SHA-256 {file_digest(weights)[:16]})" if weights else "imagenet",
        "config": published_config(config),
        "machine": machine(),
        "commit": commit(),
    }
