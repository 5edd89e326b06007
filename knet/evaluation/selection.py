"""Selection of the winner among the candidates, on validation patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from knet.base.errors import UserError
from knet.evaluation.bootstrap import RESAMPLES, Estimate, estimate_difference, estimate_metrics
from knet.evaluation.results import estimate_json
from knet.evaluation.sample import Sample


def select_model(
    validation: Mapping[str, Sample],
    *,
    parameters: Mapping[str, int],
    metric: str,
    equivalence_margin: float,
    force_winner: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Select the winner on validation patients.

    1. The best candidate has the highest metric; of equals, the fewest parameters.
    2. Candidates at most `equivalence_margin` below the best, and not shown to be worse by a paired
       bootstrap, are equivalent to it.
    3. Of the best and its equivalents, the candidate with the fewest parameters wins.

    Args:
        validation: predictions for the same validation images, by candidate.
        parameters: number of parameters, by candidate.
        metric: one of those of the samples; larger is better.
        equivalence_margin: largest distance below the best that counts as equivalent, in units of the metric.
        force_winner: candidate that wins regardless of the metric; default: none.
        seed: random seed of the bootstrap.
        resamples: number of resamples of the bootstrap.

    Returns:
        The decision as JSON: `winner`, `metric`, `equivalence_margin`, `force_winner` and `candidates`, each
        with `parameters`, `value`, `low`, `high`, `below_best` (paired difference, null for the best), `won`
        and `why`.

    Raises:
        UserError: there is no candidate, the metric of one is undefined and `force_winner` is not set, or
            `force_winner` is not among them.
    """
    if not validation:
        raise UserError("no candidate is left to select: each one failed")
    if force_winner and force_winner not in validation:
        raise UserError(
            f"selection.force_winner is {force_winner}, which failed; set it to null or to one of "
            f"{', '.join(validation)}"
        )
    bootstrap = {"seed": seed, "resamples": resamples}
    values = {name: estimate_metrics(sample, **bootstrap)[metric] for name, sample in validation.items()}
    undefined = [name for name, estimate in values.items() if math.isnan(estimate.value)]
    if undefined and not force_winner:
        raise UserError(
            f"{metric} on validation is undefined for {', '.join(undefined)}: "
            "set selection.metric to another metric, or provide validation patients of both classes"
        )
    ranked = sorted(values, key=lambda name: (_descending(values[name].value), parameters[name], name))
    best = ranked[0]
    below = {
        name: estimate_difference(validation[best], validation[name], metric=metric, **bootstrap)
        for name in ranked[1:]
    }
    equivalent = [
        best,
        *(name for name in ranked[1:] if below[name].value <= equivalence_margin and not below[name].low > 0),
    ]
    winner = force_winner or min(equivalent, key=lambda name: (parameters[name], name))
    return {
        "winner": winner,
        "metric": metric,
        "equivalence_margin": equivalence_margin,
        "force_winner": force_winner,
        "candidates": {
            name: {
                "parameters": parameters[name],
                **estimate_json(values[name]),
                "below_best": estimate_json(below[name]) if name in below else None,
                "won": name == winner,
                "why": _forced_reason(name, force_winner, best, metric)
                if force_winner
                else _reason(name, winner, best, below, equivalent, metric, equivalence_margin),
            }
            for name in validation
        },
    }


def _descending(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _forced_reason(name: str, force_winner: str, best: str, metric: str) -> str:
    if name != force_winner:
        return f"selection.force_winner chose {force_winner}"
    measured = "which is also" if name == best else f"while {best} is"
    return f"selection.force_winner, {measured} the best by {metric} on validation patients"


def _reason(
    name: str,
    winner: str,
    best: str,
    below: Mapping[str, Estimate],
    equivalent: list[str],
    metric: str,
    equivalence_margin: float,
) -> str:
    """Return in one line why a candidate won or lost."""
    if name == winner == best:
        others = f", and the smallest of {len(equivalent)} equivalent ones" if len(equivalent) > 1 else ""
        return f"highest {metric} on validation patients{others}"
    if name == best:
        return f"highest {metric} on validation patients, but larger than {winner}, which is equivalent"
    difference = below[name]
    distance = (
        f"{metric} is {difference.value:.3f} below that of {best} "
        f"(95 % interval {difference.low:.3f} to {difference.high:.3f})"
    )
    if name == winner:
        return f"{distance} on validation patients: equivalent, and smaller"
    if name in equivalent:
        return f"{distance}: equivalent, but larger than {winner}"
    if difference.value <= equivalence_margin:
        return f"{distance}: within the margin, but worse in a paired bootstrap"
    return distance
