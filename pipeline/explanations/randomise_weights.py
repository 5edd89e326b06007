"""Makes a model forget everything, to see whether its explanations notice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

_ONES = ("gamma", "moving_variance")


def randomise_weights(variables: Iterable[Any], *, seed: int) -> None:
    """Gives all layers of a loaded SavedModel new random weights (Adebayo et al., NeurIPS 2018).

    Kernels are normal with the variance 2 / inputs (He et al., ICCV 2015), so that values neither vanish nor
    overflow in a deep network; normalisations do nothing, and biases are zero.

    Args:
        variables: of the model, with Keras's names; changed in place.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    for variable in variables:
        if not variable.dtype.is_floating:
            continue
        name = variable.name.rpartition("/")[2].partition(":")[0]
        shape = tuple(variable.shape)
        if len(shape) > 1:
            inputs = np.prod(shape[:2] if "depthwise" in name else shape[:-1])
            variable.assign(rng.normal(0, np.sqrt(2 / inputs), shape))
        else:
            variable.assign(np.full(shape, float(name in _ONES)))
