"""The page of a cross-validation, in Markdown, with its figures as JSON beside it."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import jinja2
from rich.console import Console

from knet.base.digests import file_digest, git_commit
from knet.evaluation.bootstrap import RESAMPLES, Estimate, estimate_difference, estimate_metrics
from knet.evaluation.patient_metrics import PatientSample
from pipeline.config.config import Config
from pipeline.experiments.cross_validation import (
    PROBE,
    VARIANTS,
    FoldTestSet,
    cross_validate,
    patient_by_image,
)


def write_results_page(file: Path, results: dict[str, Any]) -> None:
    """Writes the page, and `results` beside it under the same name with `.json`.

    Args:
        file: a name that ends in `.md`.
        results: as `run_results` collects them.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters |= {"interval": _interval, "verdict": _verdict, "choice": _choice, "spread": _spread}
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "results.md.jinja").read_text(encoding="utf-8")
    )
    figures = file.with_suffix(".json")
    page = template.render(
        **results,
        metrics=METRICS,
        missed_patients=sorted({patient for arm in results["arms"].values() for patient in arm["missed"]}),
        json_name=figures.name,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page.rstrip() + "\n", encoding="utf-8")
    figures.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _interval(estimate: Sequence[float], *, sign: bool = False) -> str:
    value, low, high = (f"{number:+.3f}" if sign else f"{number:.3f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _verdict(difference: Sequence[float]) -> str:
    _, low, high = difference
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def _choice(fold: dict[str, float]) -> str:
    return f"C {fold['C']:g}" if "C" in fold else f"{fold['learning_rate']:g}, epoch {fold['best_epoch']:.0f}"


def _spread(folds: Sequence[dict[str, float]]) -> str:
    mean, deviation = spread([fold["balanced_accuracy"] for fold in folds])
    return f"{mean:.3f} ± {deviation:.3f}"


_THRESHOLD = 0.5
METRICS = {
    "accuracy": "image rate",
    "balanced_accuracy": "balanced accuracy",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patients decided rightly",
    "roc_auc": "ROC-AUC",
}


def summarise(
    folds: Sequence[FoldTestSet], *, patients: Mapping[str, str], arms: Sequence[str], against: str
) -> dict[str, Any]:
    """Metrics of each arm over all folds, with intervals, as JSON can hold them.

    Every image is tested once, by the model of its fold. Intervals are of a bootstrap over patients; a
    difference is taken within each resample.

    Args:
        folds: all of them.
        patients: of each image, by path.
        arms: their names.
        against: the arm that the others are compared with.
    """
    samples = {arm: _sample(folds, patients, arm) for arm in arms}
    counts = Counter(samples[against].labels.tolist())
    return {
        "images": sum(counts.values()),
        "patients": len(samples[against].patients),
        "majority_share": max(counts.values()) / sum(counts.values()),
        "against": against,
        "arms": {
            arm: {
                "metrics": {
                    name: _estimate(estimate)
                    for name, estimate in estimate_metrics(sample).items()
                    if name in METRICS
                },
                "difference": {
                    name: _estimate(estimate_difference(sample, samples[against], metric=name))
                    for name in ("balanced_accuracy", "roc_auc")
                },
                "missed": _missed(folds, patients, arm),
                "folds": [_fold(fold, patients, arm) for fold in folds],
                "seconds": round(sum(fold.outcomes[arm].seconds for fold in folds), 1),
            }
            for arm, sample in samples.items()
        },
    }


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over folds."""
    return mean(values), stdev(values)


def _sample(folds: Sequence[FoldTestSet], patients: Mapping[str, str], arm: str) -> PatientSample:
    paths = [path for fold in folds for path in fold.paths]
    return PatientSample(
        images=paths,
        patients=[patients[path] for path in paths],
        labels=[label for fold in folds for label in fold.labels],
        scores=[score for fold in folds for score in fold.outcomes[arm].scores],
    )


def _fold(fold: FoldTestSet, patients: Mapping[str, str], arm: str) -> dict[str, Any]:
    """What was chosen on a fold's validation patients, and what it came to on its test patients."""
    metrics = _sample([fold], patients, arm).metrics()
    return {**fold.outcomes[arm].chosen, **{name: metrics[name] for name in METRICS}}


def _missed(folds: Sequence[FoldTestSet], patients: Mapping[str, str], arm: str) -> dict[str, list[int]]:
    """The patients of whom most images are decided wrongly: how many of how many."""
    wrong: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for fold in folds:
        for path, label, score in zip(fold.paths, fold.labels, fold.outcomes[arm].scores, strict=True):
            images[patients[path]] += 1
            wrong[patients[path]] += (score > _THRESHOLD) != label
    return {
        patient: [wrong[patient], count] for patient, count in images.items() if 2 * wrong[patient] > count
    }


def _estimate(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def host_description() -> str:
    """Cores and processor, such as `2 cores of AMD EPYC`; a container may have fewer than the machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} core{'' if cores == 1 else 's'} of {names[0] if names else platform.machine()}"


def published_config(config: Config) -> dict[str, Any]:
    """All that decides the figures, as JSON can hold it, without places of files and servers."""
    places = {"source", "root", "schema_file"}
    elsewhere = dict.fromkeys(("output", "metadata", "kubeflow", "beam"), True)
    tree = config.model_dump(mode="json", exclude={**elsewhere, "data": places})
    for candidate in tree["candidates"].values():
        candidate["weights"] = Path(candidate["weights"]).name
    return tree


def run_results(config: Config, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Trains whatever was not trained before, and returns all figures as JSON can hold them.

    Args:
        config: `results.yaml` with the overrides.
        overrides: of it.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable.
    """
    data, folds = cross_validate(VARIANTS, overrides, console=console)
    titles = {arm.name: arm.title for arm in VARIANTS}
    labels = [label for fold in folds for label in fold.labels]
    weights = config.candidates["mobilenet"].weights_file
    return {
        **summarise(
            folds,
            patients=patient_by_image(config, data),
            arms=list(titles),
            against=PROBE.name,
        ),
        "titles": titles,
        "learning_rates": {arm.name: arm.learning_rates for arm in VARIANTS if arm.learning_rates},
        "majority": config.data.classes[2 * sum(labels) > len(labels)],
        "folds": len(folds),
        "resamples": RESAMPLES,
        "source": data.source.name,
        "synthetic": data.synthetic,
        "fingerprint": data.fingerprint,
        "weights": f"{weights.name} (SHA-256 {file_digest(weights)[:16]})" if weights else "imagenet",
        "config": published_config(config),
        "machine": host_description(),
        "commit": git_commit(),
    }
