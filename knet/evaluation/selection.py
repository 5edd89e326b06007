"""The rule by which the winner is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from knet.base.errors import UserError
from knet.evaluation.bootstrap import RESAMPLES, Estimate, estimate_difference, estimate_metrics
from knet.evaluation.patient_metrics import PatientSample
from knet.evaluation.results import estimate_tree


def select_model(
    validation: Mapping[str, PatientSample],
    *,
    parameters: Mapping[str, int],
    metric: str,
    equivalence_margin: float,
    force_winner: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The winner on validation patients, and for each candidate its numbers and why it won or lost.

    The best is the candidate with the highest metric; of equals, the one with fewer parameters. Candidates
    that are at most `equivalence_margin` below it, and that a paired bootstrap does not show to be worse, are
    equivalent to it. Of all these the one with the fewest parameters wins.

    Args:
        validation: what is judged, by candidate, of the same images.
        parameters: their number, by candidate.
        metric: the one that decides; larger is better.
        equivalence_margin: largest distance below the best that counts as equivalent, in units of the metric.
        force_winner: the candidate that wins regardless of the metric.
        seed: of the bootstrap.
        resamples: likewise.

    Returns:
        The decision record, as JSON can hold it: `winner`, `metric`, `equivalence_margin`, `force_winner` and
        `candidates`, each with `parameters`, `value`, `low`, `high`, `below_best` (the paired difference,
        null for the best), `won` and `why`.

    Raises:
        UserError: a candidate's metric is undefined, so that no fair choice can be made.
    """
    draw = {"seed": seed, "resamples": resamples}
    values = {name: estimate_metrics(sample, **draw)[metric] for name, sample in validation.items()}
    undefined = [name for name, estimate in values.items() if math.isnan(estimate.value)]
    if undefined and not force_winner:
        raise UserError(
            f"{metric} on validation is undefined for {', '.join(undefined)}: "
            "are there patients of both classes? choose another selection.metric"
        )
    ranked = sorted(values, key=lambda name: (_descending(values[name].value), parameters[name], name))
    best = ranked[0]
    below = {
        name: estimate_difference(validation[best], validation[name], metric=metric, **draw)
        for name in ranked[1:]
    }
    as_good = [
        best,
        *(name for name in ranked[1:] if below[name].value <= equivalence_margin and not below[name].low > 0),
    ]
    winner = force_winner or min(as_good, key=lambda name: (parameters[name], name))
    return {
        "winner": winner,
        "metric": metric,
        "equivalence_margin": equivalence_margin,
        "force_winner": force_winner,
        "candidates": {
            name: {
                "parameters": parameters[name],
                **estimate_tree(values[name]),
                "below_best": estimate_tree(below[name]) if name in below else None,
                "won": name == winner,
                "why": _forced(name, force_winner, best, metric)
                if force_winner
                else _why(name, winner, best, below, as_good, metric, equivalence_margin),
            }
            for name in validation
        },
    }


def _descending(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _forced(name: str, force_winner: str, best: str, metric: str) -> str:
    if name != force_winner:
        return f"selection.force_winner chose {force_winner}"
    measured = "which is also" if name == best else f"while {best} is"
    return f"selection.force_winner, {measured} the best by {metric} on validation patients"


def _why(
    name: str,
    winner: str,
    best: str,
    below: Mapping[str, Estimate],
    as_good: list[str],
    metric: str,
    equivalence_margin: float,
) -> str:
    """One line."""
    if name == winner == best:
        others = f", and the smallest of {len(as_good)} that are as good" if len(as_good) > 1 else ""
        return f"highest {metric} on validation patients{others}"
    if name == best:
        return f"highest {metric} on validation patients, but larger than {winner}, which is as good"
    difference = below[name]
    distance = f"{difference.value:.3f} below {best} ({difference.low:.3f} to {difference.high:.3f})"
    if name == winner:
        return f"{metric} on validation patients is {distance}, which is as good, and it is smaller"
    if name in as_good:
        return f"{distance}, which is as good, but larger than {winner}"
    if difference.value <= equivalence_margin:
        return f"{distance}: close, but worse in a paired bootstrap"
    return distance
