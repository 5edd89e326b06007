"""The rules a model must satisfy to be pushed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from knet.base import schema_names
from knet.evaluation.bootstrap import RESAMPLES, estimate_difference
from knet.evaluation.patient_metrics import PatientSample
from knet.evaluation.predictions import patient_sample
from knet.evaluation.results import estimate_tree


@dataclass(frozen=True)
class Rules:
    """What is asked of the winner: the configuration's `gate`."""

    minimum: Mapping[str, float]
    margin: float | None
    metric: str
    min_patients: int
    on_insufficient_data: Literal["pass", "fail"]


@dataclass
class Verdict:
    """What came of it, a line each; without reasons the model may pass."""

    reasons: list[str] = field(default_factory=list)  # that keep it back
    notes: list[str] = field(default_factory=list)  # what else there is to know
    comparison: dict[str, Any] | None = None  # with the model in production


def evaluate_gate(
    test: Any,
    rules: Rules,
    *,
    classes: Sequence[str],
    baseline: Any = None,
    version: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Verdict:
    """Judges the winner on test patients, by itself and against the model in production.

    Args:
        test: its predictions of test images.
        rules: what is asked.
        classes: their names, in the order of the labels.
        baseline: the test predictions of the model in production; none on a first run.
        version: of that model, if known.
        seed: of the bootstrap.
        resamples: likewise.
    """
    verdict = Verdict()
    sample = patient_sample(test)
    if rules.minimum:
        _below_patient_minimum(verdict, sample, rules, classes, where="for test")
    verdict.reasons += violations(sample.metrics(), minimum=rules.minimum)
    if rules.margin is not None and baseline is None:
        verdict.notes.append("there is no model in production to compare with")
    elif rules.margin is not None:
        draw = {"seed": seed, "resamples": resamples}
        _compare(verdict, test, baseline, rules, rules.margin, classes=classes, version=version, **draw)
    return verdict


def violations(metrics: Mapping[str, float], *, minimum: Mapping[str, float]) -> list[str]:
    """What keeps a model back, one line a minimum; empty when it may pass.

    An undefined metric (NaN) never satisfies a minimum.
    """
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
    margin: float,
    *,
    classes: Sequence[str],
    version: str,
    **draw: int,
) -> None:
    """On the images that are for test in both: neither model learned from those."""
    keys = [schema_names.IMAGE_PATH, schema_names.PATIENT, schema_names.LABEL]
    common = test[keys].merge(baseline[keys])[schema_names.IMAGE_PATH]
    new, old = (
        patient_sample(frame[frame[schema_names.IMAGE_PATH].isin(common)]) for frame in (test, baseline)
    )
    candidate = baseline[schema_names.CANDIDATE].iloc[0]
    name = f"{candidate}{f', version {version},' if version else ''} in production"
    if _below_patient_minimum(verdict, new, rules, classes, where=f"for test both here and of {name}"):
        return
    difference = estimate_difference(new, old, metric=rules.metric, **draw)
    verdict.comparison = {
        "with": str(baseline[schema_names.CANDIDATE].iloc[0]),
        "version": version,
        "metric": rules.metric,
        "margin": margin,
        "patients": len(new.patients),
        "images": len(new.images),
        "difference": estimate_tree(difference),
    }
    if math.isnan(difference.value):
        verdict.reasons.append(f"{rules.metric} is undefined here or of {name}; choose another gate.metric")
        return
    line = (
        f"the difference in {rules.metric} to {name} is {difference.value:+.3f} ({difference.low:+.3f} to "
        f"{difference.high:+.3f}) on {len(new.patients)} test patients"
    )
    if difference.low >= -margin:
        verdict.notes.append(f"{line}, within gate.margin {margin:g}")
    else:
        verdict.reasons.append(f"{line}, and may be worse than gate.margin {margin:g}")


def _below_patient_minimum(
    verdict: Verdict, sample: PatientSample, rules: Rules, classes: Sequence[str], *, where: str
) -> bool:
    """Whether there are too few patients of a class; the verdict then says so."""
    counts = [int((sample.positive == bool(label)).sum()) for label in range(len(classes))]
    if min(counts) >= rules.min_patients:
        return False
    found = " and ".join(f"{count} {name}" for count, name in zip(counts, classes, strict=True))
    line = f"insufficient patients: {found} {where}, but gate.min_patients is {rules.min_patients} for each"
    (verdict.reasons if rules.on_insufficient_data == "fail" else verdict.notes).append(line)
    return True
