"""Scalar statistics of an image's pixels that reveal a change of scanner, stain or focus."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from knet.base import schema_names

# Optical densities of haematoxylin, eosin and DAB in red, green and blue, each of unit length, as published:
# Ruifrok & Johnston, Quantification of histochemical staining by color deconvolution, Anal Quant Cytol Histol
# 23:291-299, 2001.
STAINS: Final = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# Optical density below which a pixel is background, by Macenko et al., A method for normalizing histology
# slides, ISBI 2009; measured on green, which both stains absorb.
TISSUE_DENSITY: Final = 0.15
GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

_VALUES = np.arange(256.0)
_DENSITIES = -np.log10(np.maximum(_VALUES, 1) / 255)  # optical density by channel value; 0 counts as 1
_UNMIX = np.linalg.inv(STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True))


def image_scalars(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the features `knet.base.schema_names.IMAGE_SCALARS` of an image.

    - Means and standard deviations of red, green and blue, 0 to 255.
    - Mean amounts of haematoxylin and eosin: decadic optical densities, unmixed by Ruifrok & Johnston's
      matrix. Unmixing is linear, so it is done once, on the means of all pixels; the amount of a missing
      stain may be slightly negative.
    - Tissue fraction, 0 to 1: the share of pixels with an optical density of green of 0.15 or more.
    - Variance of the Laplacian of the grey image (kernel 0 1 0, 1 -4 1, 0 1 0, without the image's edge): low
      where the image is blurred.

    Args:
        pixels: uint8 RGB [height, width, 3], at least 3 pixels a side.

    Returns:
        A value for each name, in the order of `IMAGE_SCALARS`.
    """
    counts = np.stack([np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(3)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    means = shares @ _VALUES
    deviations = np.sqrt(np.maximum(shares @ _VALUES**2 - means**2, 0))
    haematoxylin, eosin, _ = (shares @ _DENSITIES) @ _UNMIX
    tissue = shares[1, _DENSITIES >= TISSUE_DENSITY].sum()
    values = (*means, *deviations, haematoxylin, eosin, tissue, _laplacian_variance(pixels))
    return {name: float(value) for name, value in zip(schema_names.IMAGE_SCALARS, values, strict=True)}


def _laplacian_variance(pixels: NDArray[np.uint8]) -> float:
    grey = pixels @ GREY
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.var(neighbours - 4 * grey[1:-1, 1:-1], dtype=np.float64))
