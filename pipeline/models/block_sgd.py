"""Gradient descent with momentum in which every block may have a learning rate of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("knet")
class BlockSGD(keras.optimizers.SGD):
    """The paper's eq (3): V <- mu V - rate alpha_j dC/dW_j; W <- W + V.

    Example:
        BlockSGD(0.001, momentum=0.9, multipliers={"block1_conv1": 0.1})
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: Any = 0.9,
        *,
        multipliers: Mapping[str, float] | None = None,
        name: str = "block_sgd",
        **kwargs: Any,
    ) -> None:
        """Takes alpha_j by the name of a layer.

        Args:
            learning_rate: the rate, or its schedule.
            momentum: mu, or a tf.Variable of it that is not 0 yet.
            multipliers: alpha_j of the layers for which it is not 1.
            name: of the optimiser.
            **kwargs: of `keras.optimizers.SGD`.
        """
        number = momentum if isinstance(momentum, float) else float(momentum)
        super().__init__(learning_rate, momentum=number, name=name, **kwargs)
        self._mu = momentum
        self._multipliers = dict(multipliers or {})
        self._factors: list[float] = []

    def build(self, variables: list[Any]) -> None:
        """Looks up alpha_j of each variable."""
        super().build(variables)
        self._factors = [self._factor(variable) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        factor = self._factors[index]
        gradient = gradient if factor == 1 else gradient * factor
        if isinstance(self._mu, float):
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[index]
        mu, rate = (ops.cast(value, variable.dtype) for value in (self._mu, learning_rate))
        self.assign(velocity, velocity * mu - ops.cast(gradient, variable.dtype) * rate)
        self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "multipliers": dict(self._multipliers)}

    def _factor(self, variable: Any) -> float:
        layers = variable.path.split("/")  # a cell's variables are its layer's too
        return next((self._multipliers[name] for name in layers if name in self._multipliers), 1.0)
