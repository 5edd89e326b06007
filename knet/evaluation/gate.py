"""The quality gate: requirements on test patients that a model must meet to be pushed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from knet.base import schema_names
from knet.base.split_units import PATIENT, leak_warning
from knet.evaluation.bootstrap import RESAMPLES, estimate_difference
from knet.evaluation.predictions import prediction_sample
from knet.evaluation.results import estimate_json
from knet.evaluation.sample import Sample


@dataclass(frozen=True)
class Rules:
    """Requirements on the winner: `gate` of the configuration."""

    minimum: Mapping[str, float]
    margin: float | None
    metric: str
    min_patients: int
    on_insufficient_data: Literal["pass", "fail"]
    split_unit: str = PATIENT  # of the data; every model of a split by another is refused

    def compares(self, baseline: object) -> bool:
        """Return whether a model is compared with the one in production, whose predictions are given."""
        return self.margin is not None and baseline is not None


def certain_refusal(patients: Mapping[str, int], rules: Rules, *, baseline: object = None) -> str | None:
    """Return in one line why the gate must refuse every model, with the remedy; None if it may pass one.

    Args:
        patients: number of test patients by class.
        rules: the requirements.
        baseline: predictions of the model in production; None on a first run.
    """
    if leak_warning(rules.split_unit):
        return f"the gate must refuse every model, {_leak(rules)}"
    if rules.on_insufficient_data == "pass" or not (rules.minimum or rules.compares(baseline)):
        return None
    problem = insufficient_patients(patients, rules, where="for test")
    return problem and (
        f"the gate must refuse every model, {problem}; have more test patients (data.split), lower "
        "gate.min_patients, or set gate.on_insufficient_data=pass"
    )


def _leak(rules: Rules) -> str:
    return (
        f"the split is by {rules.split_unit}, so that patients may be in training and test; "
        "set data.split.unit=patient"
    )


def insufficient_patients(patients: Mapping[str, int], rules: Rules, *, where: str) -> str | None:
    """Return the line about too few patients of a class, or None if each has `gate.min_patients`."""
    few = {name: count for name, count in patients.items() if count < rules.min_patients}
    if not few:
        return None
    named = patients if len(patients) == 2 else few
    found = " and ".join(f"{count} {name}" for name, count in named.items())
    return f"insufficient patients: {found} {where}, but gate.min_patients is {rules.min_patients} for each"


@dataclass
class Verdict:
    """Result of the gate; a model without reasons passes."""

    reasons: list[str] = field(default_factory=list)  # failed requirements, a line each
    notes: list[str] = field(default_factory=list)  # other findings, a line each
    comparison: dict[str, Any] | None = None  # with the model in production


def evaluate_gate(
    test: Any,
    rules: Rules,
    *,
    classes: Sequence[str],
    positive: Sequence[str] = (),
    baseline: Any = None,
    version: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Verdict:
    """Check the winner's test predictions, by themselves and against the model in production.

    Args:
        test: test rows of the winner, as `read_predictions` returns them.
        rules: the requirements.
        classes: class names, in the order of the labels.
        positive: names of the positive group of more than two classes; empty if there is none.
        baseline: test rows of the model in production; None on a first run.
        version: version of the model in production; empty if unknown.
        seed: random seed of the bootstrap.
        resamples: number of resamples of the bootstrap.
    """
    verdict = Verdict()
    sample = prediction_sample(test, classes=classes, positive=positive)
    if leak_warning(rules.split_unit):
        verdict.reasons.append(_leak(rules))
    if rules.minimum:
        _below_patient_minimum(verdict, sample, rules, classes, where="for test")
    verdict.reasons += violations(sample.metrics(), minimum=rules.minimum)
    if rules.margin is not None and baseline is None:
        verdict.notes.append("there is no model in production to compare with")
    elif rules.compares(baseline):
        bootstrap = {"seed": seed, "resamples": resamples}
        _compare(
            verdict, test, baseline, rules, classes=classes, positive=positive, version=version, **bootstrap
        )
    return verdict


def violations(metrics: Mapping[str, float], *, minimum: Mapping[str, float]) -> list[str]:
    """Return a line for each minimum that is not reached; an undefined metric (NaN) reaches none."""
    return [
        f"{name} on test is {metrics[name]:.4g}, below the minimum of {bound:g}"
        for name, bound in minimum.items()
        if not metrics[name] >= bound
    ]


def _compare(
    verdict: Verdict,
    test: Any,
    baseline: Any,
    rules: Rules,
    *,
    classes: Sequence[str],
    positive: Sequence[str],
    version: str,
    **bootstrap: int,
) -> None:
    """Compare both models on the images that are test images of both, which neither was trained on."""
    candidate = baseline[schema_names.CANDIDATE].iloc[0]
    name = f"{candidate}{f', version {version},' if version else ''} in production"
    if _class_count(baseline) != len(classes):
        verdict.notes.append(f"not compared with {name}, which has {_class_count(baseline)} classes")
        return
    keys = [schema_names.IMAGE_PATH, schema_names.PATIENT, schema_names.LABEL]
    common = test[keys].merge(baseline[keys])[schema_names.IMAGE_PATH]
    new, old = (
        prediction_sample(
            frame[frame[schema_names.IMAGE_PATH].isin(common)], classes=classes, positive=positive
        )
        for frame in (test, baseline)
    )
    if _below_patient_minimum(
        verdict, new, rules, classes, where=f"among the test patients shared with {name}"
    ):
        return
    difference = estimate_difference(new, old, metric=rules.metric, **bootstrap)
    margin = rules.margin
    assert margin is not None  # compares()
    verdict.comparison = {
        "with": str(baseline[schema_names.CANDIDATE].iloc[0]),
        "version": version,
        "metric": rules.metric,
        "margin": margin,
        "patients": len(new.patients),
        "images": len(new.images),
        "difference": estimate_json(difference),
    }
    if math.isnan(difference.value):
        verdict.reasons.append(
            f"{rules.metric} is undefined for this model or {name}; set gate.metric to another metric"
        )
        return
    line = (
        f"the difference in {rules.metric} to {name} is {difference.value:+.3f} ({difference.low:+.3f} to "
        f"{difference.high:+.3f}) on {len(new.patients)} test patients"
    )
    if difference.low >= -margin:
        verdict.notes.append(f"{line}, within gate.margin {margin:g}")
    else:
        verdict.reasons.append(f"{line}, and may be worse than gate.margin {margin:g}")


def _class_count(predictions: Any) -> int:
    """Return the number of classes of a table of predictions."""
    if schema_names.PROBABILITIES not in predictions or predictions.empty:
        return 2
    return len(predictions[schema_names.PROBABILITIES].iloc[0])


def _below_patient_minimum(
    verdict: Verdict, sample: Sample, rules: Rules, classes: Sequence[str], *, where: str
) -> bool:
    """Return whether a class has too few patients, and add that to the verdict."""
    line = insufficient_patients(sample.patient_counts(classes), rules, where=where)
    if line is None:
        return False
    (verdict.reasons if rules.on_insufficient_data == "fail" else verdict.notes).append(line)
    return True
