"""The loss: mean negative log-likelihood, with label smoothing where it is wanted."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("knet")
class SmoothedCrossentropy(keras.losses.Loss):
    """The paper's eq (1), the mean of -log p(label); smoothing as in Szegedy et al. (2016), section 7.

    Takes labels [batch] and probabilities [batch, classes].
    """

    def __init__(self, *, smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any) -> None:
        """Names the share of each label that is spread evenly over all classes."""
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, [batch]."""
        classes = y_pred.shape[-1]
        labels = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=y_pred.dtype)
        return ops.categorical_crossentropy(labels * (1 - self.smoothing) + self.smoothing / classes, y_pred)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "smoothing": self.smoothing}
