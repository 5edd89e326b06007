"""Macenko's normalisation of haematoxylin and eosin."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from pipeline.models.stain_normalization import StainNormalization

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
