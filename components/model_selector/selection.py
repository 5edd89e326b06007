"""The rule by which the winner is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.errors import UserError


def select(
    validation: Mapping[str, Mapping[str, float]], *, metric: str, parameters: Mapping[str, int]
) -> str:
    """The candidate with the highest metric on validation; of equals, the one with fewer parameters.

    Args:
        validation: metrics by candidate.
        metric: the name of the one that decides.
        parameters: number of parameters by candidate.

    Raises:
        UserError: a candidate's metric is undefined (NaN), so that no fair choice can be made.
    """
    undefined = [name for name, metrics in validation.items() if math.isnan(metrics[metric])]
    if undefined:
        raise UserError(
            f"{metric} on validation is undefined for {', '.join(undefined)}: "
            "are there patients of both classes? choose another selection.metric"
        )
    return min(validation, key=lambda name: (-validation[name][metric], parameters[name], name))
