"""What the normalisations of stains have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops


class StainNormalization(keras.layers.Layer):
    """Gives every image the stains of a reference, which was fitted to the training images.

    The reference is a weight, so that it is saved and served with the model. An image without enough of
    what is measured stays as it is.

    Input and output: [batch, rows, columns, 3] RGB, 0 to 255.
    """

    length: ClassVar[int]  # of a measurement

    def __init__(self, reference: Sequence[float] | None = None, **kwargs: Any) -> None:
        """Takes the reference; without one it comes with the weights that are loaded.

        Args:
            reference: a measurement, as `measure` gives one of an image.
            **kwargs: as for every layer.
        """
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self._initial = list(reference) if reference is not None else [0.0] * self.length

    def get_config(self) -> dict[str, Any]:
        """All but the reference, which is a weight."""
        return super().get_config()

    def build(self, input_shape: Any) -> None:
        """Makes the weight."""
        initial = keras.initializers.Constant(self._initial)
        self.reference = self.add_weight(
            shape=(self.length,), initializer=initial, trainable=False, name="reference"
        )

    def call(self, pixels: Any) -> Any:
        """The images in the reference's stains."""
        measured, usable = self.measure(pixels)
        normalised = ops.clip(self.transfer(pixels, measured, self.reference), 0.0, 255.0)
        return ops.stop_gradient(ops.where(usable[:, None, None, None], normalised, pixels))

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """The stains of each image, float [batch, length], and whether there is enough to say so, [batch]."""
        raise NotImplementedError

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """The images, with what was measured of them made the reference's."""
        raise NotImplementedError
