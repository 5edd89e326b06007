"""Results of the cross-validation: metrics with intervals, as a Markdown page and a JSON file."""

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
    """Write the page, and the results beside it under the same name with `.json`.

    Args:
        file: path that ends in `.md`.
        results: as returned by `run_results`.
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
        misclassified=sorted(
            {p for variant in results["variants"].values() for p in variant["misclassified"]}
        ),
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
    return "better" if low > 0 else "worse" if high < 0 else "no difference found"


def _choice(fold: dict[str, float]) -> str:
    return f"C {fold['C']:g}" if "C" in fold else f"{fold['learning_rate']:g}, epoch {fold['best_epoch']:.0f}"


def _spread(folds: Sequence[dict[str, float]]) -> str:
    mean, deviation = spread([fold["balanced_accuracy"] for fold in folds])
    return f"{mean:.3f} ± {deviation:.3f}"


_THRESHOLD = 0.5  # of the probability of the second class
# Titles of the metrics of the first table, by name.
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patient accuracy",
    "roc_auc": "ROC-AUC",
}


def summarize(
    folds: Sequence[FoldTestSet], *, patients: Mapping[str, str], variants: Sequence[str], baseline: str
) -> dict[str, Any]:
    """Return metrics of each variant over all folds, with intervals, as JSON.

    Every image is tested once, by the model of its fold. Intervals are those of a bootstrap over patients;
    differences are paired in each resample.

    Args:
        folds: test sets of all folds.
        patients: patient of each image, by path.
        variants: names of the variants.
        baseline: name of the variant that the others are compared with.
    """
    samples = {variant: _sample(folds, patients, variant) for variant in variants}
    counts = Counter(samples[baseline].labels.tolist())
    return {
        "images": sum(counts.values()),
        "patients": len(samples[baseline].patients),
        "majority_share": max(counts.values()) / sum(counts.values()),
        "baseline": baseline,
        "variants": {
            variant: {
                "metrics": {
                    name: _estimate(estimate)
                    for name, estimate in estimate_metrics(sample).items()
                    if name in METRICS
                },
                "difference": {
                    name: _estimate(estimate_difference(sample, samples[baseline], metric=name))
                    for name in ("balanced_accuracy", "roc_auc")
                },
                "misclassified": _misclassified_patients(folds, patients, variant),
                "folds": [_fold(fold, patients, variant) for fold in folds],
                "seconds": round(sum(fold.results[variant].seconds for fold in folds), 1),
            }
            for variant, sample in samples.items()
        },
    }


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation over folds."""
    return mean(values), stdev(values)


def _sample(folds: Sequence[FoldTestSet], patients: Mapping[str, str], variant: str) -> PatientSample:
    paths = [path for fold in folds for path in fold.paths]
    return PatientSample(
        images=paths,
        patients=[patients[path] for path in paths],
        labels=[label for fold in folds for label in fold.labels],
        scores=[score for fold in folds for score in fold.results[variant].scores],
    )


def _fold(fold: FoldTestSet, patients: Mapping[str, str], variant: str) -> dict[str, Any]:
    """Return the hyperparameters that validation patients chose, and the metrics on test patients."""
    metrics = _sample([fold], patients, variant).metrics()
    return {**fold.results[variant].chosen, **{name: metrics[name] for name in METRICS}}


def _misclassified_patients(
    folds: Sequence[FoldTestSet], patients: Mapping[str, str], variant: str
) -> dict[str, list[int]]:
    """Return the wrong and all images of patients of whom most images are misclassified."""
    wrong: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for fold in folds:
        for path, label, score in zip(fold.paths, fold.labels, fold.results[variant].scores, strict=True):
            images[patients[path]] += 1
            wrong[patients[path]] += (score > _THRESHOLD) != label
    return {
        patient: [wrong[patient], count] for patient, count in images.items() if 2 * wrong[patient] > count
    }


def _estimate(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def host_description() -> str:
    """Return usable cores and processor, such as `2 cores of AMD EPYC`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} core{'' if cores == 1 else 's'} of {names[0] if names else platform.machine()}"


def published_config(config: Config) -> dict[str, Any]:
    """Return the settings that results depend on, as JSON, without locations of files and servers."""
    locations = {"source", "root", "schema_file"}
    infrastructure = dict.fromkeys(("output", "metadata", "kubeflow", "beam"), True)
    tree = config.model_dump(mode="json", exclude={**infrastructure, "data": locations})
    for candidate in tree["candidates"].values():
        candidate["weights"] = Path(candidate["weights"]).name
    return tree


def run_results(config: Config, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Cross-validate `VARIANTS` and return the results as JSON.

    Args:
        config: `results.yaml` with the overrides.
        overrides: `key=value` overrides of `results.yaml`.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable.
    """
    data, folds = cross_validate(VARIANTS, overrides, console=console)
    titles = {variant.name: variant.title for variant in VARIANTS}
    labels = [label for fold in folds for label in fold.labels]
    weights = config.candidates["mobilenet"].weights_file
    return {
        **summarize(
            folds,
            patients=patient_by_image(config, data),
            variants=list(titles),
            baseline=PROBE.name,
        ),
        "titles": titles,
        "learning_rates": {v.name: v.learning_rates for v in VARIANTS if v.learning_rates},
        "majority": config.data.classes[2 * sum(labels) > len(labels)],
        "folds": len(folds),
        "resamples": RESAMPLES,
        "source": data.source.name,
        "synthetic": data.synthetic,
        "fingerprint": data.fingerprint,
        "weights": f"{weights.name} (SHA-256 {file_digest(weights)[:16]})" if weights else "imagenet",
        "config": published_config(config),
        "host": host_description(),
        "commit": git_commit(),
    }
