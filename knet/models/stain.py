"""What the normalisations of stains have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from knet.base.errors import UserError


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
        self.reference = self.add_weight(
            shape=(self.length,),
            initializer=lambda shape, dtype: ops.convert_to_tensor(self._initial, dtype),
            trainable=False,
            name="reference",
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


_TRANSPARENT = 0.15  # optical density below which a pixel shows no tissue
_LOWEST, _HIGHEST = 0.01, 0.99  # robust extremes, of angles and of concentrations
_LEAST_TISSUE = 0.01  # share of an image below which its stains cannot be told
_LEAST_ANGLE = 1e-3  # squared sine of the angle between two stains that can be told apart
_LEAST_CONCENTRATION = 1e-3


@keras.saving.register_keras_serializable("knet")
class MacenkoNormalization(StainNormalization):
    """Gives every image the reference's two stains, in its concentrations.

    Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009. A
    measurement holds the directions of haematoxylin and of eosin in the space of optical densities (natural
    logarithm), three numbers each, and the highest concentration of both.
    """

    length: ClassVar[int] = 8

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """The two stains of each image; one of almost all glass, or of one stain, is not usable."""
        density = _optical_density(pixels)
        tissue = ops.all(density >= _TRANSPARENT, axis=-1)
        stains = _stains(density, tissue)
        everywhere = ops.ones_like(tissue)
        concentrations = _concentrations(density, stains)
        highest = ops.stack(
            [_quantile(concentrations[..., stain], everywhere, _HIGHEST) for stain in (0, 1)], axis=-1
        )
        usable = (
            (ops.mean(ops.cast(tissue, "float32"), axis=1) >= _LEAST_TISSUE)
            & (_squared_sine(stains) >= _LEAST_ANGLE)
            & ops.all(highest >= _LEAST_CONCENTRATION, axis=-1)
        )
        return ops.concatenate([stains[:, 0], stains[:, 1], highest], axis=-1), usable

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """The images' concentrations, scaled to the reference's highest, in its stains."""
        stains = ops.reshape(measured[:, :6], (-1, 2, 3))
        highest = ops.maximum(measured[:, None, 6:], _LEAST_CONCENTRATION)
        concentrations = _concentrations(_optical_density(pixels), stains) / highest * reference[6:]
        density = ops.matmul(concentrations, ops.reshape(reference[:6], (2, 3)))
        return ops.reshape(256.0 * ops.exp(-density) - 1.0, ops.shape(pixels))


def _optical_density(pixels: Any) -> Any:
    """[batch, pixels, 3]; 0 where all light comes through."""
    flat = ops.reshape(ops.cast(pixels, "float32"), (-1, pixels.shape[1] * pixels.shape[2], 3))
    return -ops.log((flat + 1.0) / 256.0)


def _stains(density: Any, tissue: Any) -> Any:
    """Directions of unit length [batch, 2, 3]; that with more red density, haematoxylin, first."""
    weights = ops.cast(tissue, "float32")[..., None]
    count = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
    centred = (density - ops.sum(weights * density, axis=1, keepdims=True) / count) * weights
    covariance = ops.matmul(ops.transpose(centred, (0, 2, 1)), centred) / count
    _, vectors = ops.eigh(covariance)  # by increasing eigenvalue
    plane = ops.flip(vectors[..., 1:], axis=-1)
    # Densities are positive: with the first axis among them no angle is beyond a right one.
    signs = ops.where(ops.sum(plane, axis=1, keepdims=True) < 0, -1.0, 1.0)
    plane = plane * signs
    on_plane = ops.matmul(density, plane)
    angles = ops.arctan2(on_plane[..., 1], on_plane[..., 0])
    extremes = ops.stack([_quantile(angles, tissue, q) for q in (_LOWEST, _HIGHEST)], axis=-1)
    directions = ops.stack([ops.cos(extremes), ops.sin(extremes)], axis=-1)  # [batch, extreme, axis]
    stains = ops.matmul(directions, ops.transpose(plane, (0, 2, 1)))
    swap = stains[:, 0, 0] < stains[:, 1, 0]
    return ops.where(swap[:, None, None], ops.flip(stains, axis=1), stains)


def _concentrations(density: Any, stains: Any) -> Any:
    """By least squares, [batch, pixels, 2]."""
    cosine = ops.sum(stains[:, 0] * stains[:, 1], axis=-1)[:, None]
    first, second = (ops.sum(density * stains[:, None, n], axis=-1) for n in (0, 1))
    scale = ops.maximum(_squared_sine(stains), _LEAST_ANGLE)[:, None]
    return ops.stack([first - cosine * second, second - cosine * first], axis=-1) / scale[..., None]


def _squared_sine(stains: Any) -> Any:
    return 1.0 - ops.square(ops.sum(stains[:, 0] * stains[:, 1], axis=-1))


def _quantile(values: Any, chosen: Any, q: float) -> Any:
    """Of the chosen ones among values [batch, n], the nearest to a quantile."""
    ordered = ops.sort(ops.where(chosen, values, float("inf")), axis=-1)
    count = ops.sum(ops.cast(chosen, "float32"), axis=-1, keepdims=True)
    place = ops.cast(ops.round(q * ops.maximum(count - 1.0, 0.0)), "int32")
    return ops.take_along_axis(ordered, place, axis=-1)[:, 0]


# Reinhard et al., Color transfer between images, IEEE CG&A 21(5), 2001: eqs 3, 6 and 9, and their inverses.
_TO_LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], dtype="float32"
)
_TO_LAB = (
    np.diag(1 / np.sqrt([3, 6, 2])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
).astype("float32")  # fmt: skip
_LEAST_DEVIATION = 1e-3  # of an image of one colour, which keeps no deviation to stretch


@keras.saving.register_keras_serializable("knet")
class ReinhardNormalization(StainNormalization):
    """Gives every image the means and deviations of the reference in the colour space lαβ.

    A measurement holds three means and three deviations.
    """

    length: ClassVar[int] = 6

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """Means and deviations over all pixels; every image has them."""
        lab = _to_lab(pixels)
        measured = ops.concatenate([ops.mean(lab, axis=(1, 2)), ops.std(lab, axis=(1, 2))], axis=-1)
        return measured, ops.ones(ops.shape(pixels)[:1], dtype="bool")

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """The images with the reference's means and deviations."""
        mean, deviation = measured[:, None, None, :3], measured[:, None, None, 3:]
        scaled = (_to_lab(pixels) - mean) / ops.maximum(deviation, _LEAST_DEVIATION)
        logarithms = ops.matmul(scaled * reference[3:] + reference[:3], np.linalg.inv(_TO_LAB).T)
        return ops.matmul(ops.power(10.0, logarithms), np.linalg.inv(_TO_LMS).T) - 1


def _to_lab(pixels: Any) -> Any:
    lms = ops.matmul(pixels + 1.0, _TO_LMS.T)  # 1: no logarithm of 0
    return ops.matmul(ops.log10(lms), _TO_LAB.T)


STAIN_NORMALISATIONS: dict[str, type[StainNormalization]] = {
    "macenko": MacenkoNormalization,
    "reinhard": ReinhardNormalization,
}


def fit_stain_reference(name: str, batches: Any) -> list[float] | None:
    """The median of what is measured of each image; None where the name is `none`.

    Args:
        name: of a normalisation.
        batches: of (uint8 [batch, rows, columns, 3], anything), of the training images alone.

    Raises:
        UserError: no image shows the stains.
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
