"""Stain normalization as Keras layers: Macenko and Reinhard, and the fit of their reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from knet.base.errors import UserError


def fit_stain_reference(name: str, batches: Any) -> list[float] | None:
    """Fit the reference of a stain normalization: the median of the measurements of the training images.

    Args:
        name: `none`, or a key of `STAIN_NORMALISATIONS`.
        batches: tf.data.Dataset of (uint8 [batch, rows, columns, 3], anything), of training images alone.

    Returns:
        The reference; None if the name is `none`.

    Raises:
        UserError: the stains cannot be measured in any image.
    """
    if name == "none":
        return None
    normalisation = STAIN_NORMALISATIONS[name]
    measured = []
    for pixels, _ in batches.as_numpy_iterator():
        values, usable = map(np.asarray, normalisation.measure(pixels.astype("float32")))
        measured.append(values[usable])
    found = np.concatenate(measured)
    if not len(found):
        raise UserError(
            f"image.stain_normalisation={name}: no training image shows two stains; set it to none"
        )
    return [float(value) for value in np.median(found, axis=0)]


class StainNormalization(keras.layers.Layer):
    """Base class: transfer each image to the stains of a reference fitted to the training images.

    The reference is a weight, so that it is saved and served with the model. An image whose stains cannot be
    measured is returned unchanged.

    Input and output: RGB [batch, rows, columns, 3], 0 to 255.
    """

    length: ClassVar[int]  # numbers of a measurement

    def __init__(self, reference: Sequence[float] | None = None, **kwargs: Any) -> None:
        """Create the layer.

        Args:
            reference: from `fit_stain_reference`, [length]; None if weights will be loaded.
            **kwargs: arguments of every layer.
        """
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self._initial = list(reference) if reference is not None else [0.0] * self.length

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor but the reference, which is a weight."""
        return super().get_config()

    def build(self, input_shape: Any) -> None:
        """Create the weight."""
        self.reference = self.add_weight(
            shape=(self.length,),
            initializer=lambda shape, dtype: ops.convert_to_tensor(self._initial, dtype),
            trainable=False,
            name="reference",
        )

    def call(self, pixels: Any) -> Any:
        """Return the normalized images."""
        measured, usable = self.measure(pixels)
        normalised = ops.clip(self.transfer(pixels, measured, self.reference), 0.0, 255.0)
        return ops.stop_gradient(ops.where(usable[:, None, None, None], normalised, pixels))

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """Measure the stains of each image.

        Args:
            pixels: float32 RGB [batch, rows, columns, 3], 0 to 255.

        Returns:
            The measurements, float [batch, length], and whether they are usable, bool [batch].
        """
        raise NotImplementedError

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """Transform images from their own stains to the reference's.

        Args:
            pixels: float32 RGB [batch, rows, columns, 3], 0 to 255.
            measured: from `measure`, [batch, length].
            reference: [length].
        """
        raise NotImplementedError


_TRANSPARENT = 0.15  # optical density below which a pixel is background (beta in the paper)
_LOW, _HIGH = 0.01, 0.99  # quantiles as robust extremes of angles and concentrations (alpha in the paper)
_MIN_TISSUE = 0.01  # fraction of the pixels
_MIN_SQUARED_SINE = 1e-3  # of the angle between two stains
_MIN_CONCENTRATION = 1e-3


@keras.saving.register_keras_serializable("knet")
class MacenkoNormalization(StainNormalization):
    """Macenko normalization: the reference's stain vectors and maximal concentrations.

    Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009. A
    measurement holds the unit vectors of hematoxylin and eosin in optical density space (natural logarithm),
    three numbers each, and the maximal concentration of each.
    """

    length: ClassVar[int] = 8

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """Measure stain vectors and concentrations; images of mostly glass or one stain are not usable."""
        density = _optical_density(pixels)
        tissue = ops.all(density >= _TRANSPARENT, axis=-1)
        stains = _stains(density, tissue)
        everywhere = ops.ones_like(tissue)
        concentrations = _concentrations(density, stains)
        highest = ops.stack(
            [_quantile(concentrations[..., stain], everywhere, _HIGH) for stain in (0, 1)], axis=-1
        )
        usable = (
            (ops.mean(ops.cast(tissue, "float32"), axis=1) >= _MIN_TISSUE)
            & (_squared_sine(stains) >= _MIN_SQUARED_SINE)
            & ops.all(highest >= _MIN_CONCENTRATION, axis=-1)
        )
        return ops.concatenate([stains[:, 0], stains[:, 1], highest], axis=-1), usable

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """Scale the concentrations to the reference's maxima, and render them in its stain vectors."""
        stains = ops.reshape(measured[:, :6], (-1, 2, 3))
        highest = ops.maximum(measured[:, None, 6:], _MIN_CONCENTRATION)
        concentrations = _concentrations(_optical_density(pixels), stains) / highest * reference[6:]
        density = ops.matmul(concentrations, ops.reshape(reference[:6], (2, 3)))
        return ops.reshape(256.0 * ops.exp(-density) - 1.0, ops.shape(pixels))


def _optical_density(pixels: Any) -> Any:
    """Return the optical densities [batch, pixels, 3], natural logarithm; 0 is fully transparent."""
    flat = ops.reshape(ops.cast(pixels, "float32"), (-1, pixels.shape[1] * pixels.shape[2], 3))
    return -ops.log((flat + 1.0) / 256.0)


def _stains(density: Any, tissue: Any) -> Any:
    """Return the stain vectors [batch, 2, 3], of unit length; the one with more red, hematoxylin, first."""
    weights = ops.cast(tissue, "float32")[..., None]
    count = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
    centred = (density - ops.sum(weights * density, axis=1, keepdims=True) / count) * weights
    covariance = ops.matmul(ops.transpose(centred, (0, 2, 1)), centred) / count
    _, vectors = ops.eigh(covariance)  # ascending eigenvalues
    plane = ops.flip(vectors[..., 1:], axis=-1)
    # Densities are positive: with the first axis among them no angle exceeds 90 degrees.
    signs = ops.where(ops.sum(plane, axis=1, keepdims=True) < 0, -1.0, 1.0)
    plane = plane * signs
    on_plane = ops.matmul(density, plane)
    angles = ops.arctan2(on_plane[..., 1], on_plane[..., 0])
    extremes = ops.stack([_quantile(angles, tissue, q) for q in (_LOW, _HIGH)], axis=-1)
    directions = ops.stack([ops.cos(extremes), ops.sin(extremes)], axis=-1)  # [batch, extreme, axis]
    stains = ops.matmul(directions, ops.transpose(plane, (0, 2, 1)))
    swap = stains[:, 0, 0] < stains[:, 1, 0]
    return ops.where(swap[:, None, None], ops.flip(stains, axis=1), stains)


def _concentrations(density: Any, stains: Any) -> Any:
    """Return the least squares concentrations of both stains, [batch, pixels, 2]."""
    cosine = ops.sum(stains[:, 0] * stains[:, 1], axis=-1)[:, None]
    first, second = (ops.sum(density * stains[:, None, n], axis=-1) for n in (0, 1))
    scale = ops.maximum(_squared_sine(stains), _MIN_SQUARED_SINE)[:, None]
    return ops.stack([first - cosine * second, second - cosine * first], axis=-1) / scale[..., None]


def _squared_sine(stains: Any) -> Any:
    return 1.0 - ops.square(ops.sum(stains[:, 0] * stains[:, 1], axis=-1))


def _quantile(values: Any, mask: Any, q: float) -> Any:
    """Return the value nearest to a quantile of the masked values of each row.

    Args:
        values: float [batch, n].
        mask: bool [batch, n].
        q: 0 to 1.
    """
    ordered = ops.sort(ops.where(mask, values, float("inf")), axis=-1)
    count = ops.sum(ops.cast(mask, "float32"), axis=-1, keepdims=True)
    index = ops.cast(ops.round(q * ops.maximum(count - 1.0, 0.0)), "int32")
    return ops.take_along_axis(ordered, index, axis=-1)[:, 0]


# Reinhard et al., Color transfer between images, IEEE CG&A 21(5), 2001: eqs 3, 6 and 9, and their inverses.
_TO_LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], dtype="float32"
)
_TO_LAB = (
    np.diag(1 / np.sqrt([3, 6, 2])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
).astype("float32")  # fmt: skip
_MIN_DEVIATION = 1e-3  # divisor for an image of one color


@keras.saving.register_keras_serializable("knet")
class ReinhardNormalization(StainNormalization):
    """Reinhard normalization: the reference's means and standard deviations in the color space lαβ.

    Reinhard et al., Color transfer between images, IEEE CG&A 21(5), 2001, equations 10 and 11. A measurement
    holds three means and three standard deviations.
    """

    length: ClassVar[int] = 6

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """Measure means and standard deviations over all pixels; every image is usable."""
        lab = _to_lab(pixels)
        measured = ops.concatenate([ops.mean(lab, axis=(1, 2)), ops.std(lab, axis=(1, 2))], axis=-1)
        return measured, ops.ones(ops.shape(pixels)[:1], dtype="bool")

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """Standardize the image in lαβ, and apply the reference's means and standard deviations."""
        mean, deviation = measured[:, None, None, :3], measured[:, None, None, 3:]
        scaled = (_to_lab(pixels) - mean) / ops.maximum(deviation, _MIN_DEVIATION)
        logarithms = ops.matmul(scaled * reference[3:] + reference[:3], np.linalg.inv(_TO_LAB).T)
        return ops.matmul(ops.power(10.0, logarithms), np.linalg.inv(_TO_LMS).T) - 1


def _to_lab(pixels: Any) -> Any:
    lms = ops.matmul(pixels + 1.0, _TO_LMS.T)  # 1 avoids the logarithm of 0
    return ops.matmul(ops.log10(lms), _TO_LAB.T)


STAIN_NORMALISATIONS: dict[str, type[StainNormalization]] = {
    "macenko": MacenkoNormalization,
    "reinhard": ReinhardNormalization,
}
