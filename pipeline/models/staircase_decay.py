"""The paper's schedule of the learning rate."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("knet")
class StaircaseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's eq (2): rate * gamma ^ floor(e * N / |m|), with e the updates so far.

    With N the images of a batch and |m| those of an epoch the exponent is the epoch.
    """

    def __init__(self, *, rate: Any, gamma: Any, batch: Any, images: Any) -> None:
        """Takes the equation's constants, numbers or tf.Variables.

        Args:
            rate: alpha, the learning rate at the start.
            gamma: factor of each step.
            batch: N.
            images: |m|.
        """
        super().__init__()
        self.rate = rate
        self.gamma = gamma
        self.batch = batch
        self.images = images

    def __call__(self, step: Any) -> Any:
        """The learning rate of an update."""
        stairs = ops.floor_divide(ops.cast(step, "int64") * self.batch, self.images)
        return self.rate * ops.power(self.gamma, ops.cast(stairs, "float32"))

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {"rate": self.rate, "gamma": self.gamma, "batch": self.batch, "images": self.images}
