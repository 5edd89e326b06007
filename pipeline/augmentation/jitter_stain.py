"""Varies the amounts of the stains, as laboratories do."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from components.breakhis_example_gen.image_scalars import STAINS

_MIX = (STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)).astype(np.float32)
_UNMIX = np.linalg.inv(_MIX)


def jitter_stain(pixels: Any, *, strength: float, seed: Any) -> Any:
    """Scales and shifts the amounts of haematoxylin, eosin and residual, each in its own way.

    Tellez et al., Whole-slide mitosis detection in H&E breast histology, IEEE TMI 37(9), 2018: s' = a s + b
    with a from 1 - strength to 1 + strength and b from -strength to strength, decadic optical densities
    unmixed by Ruifrok & Johnston's matrix (2001).

    Args:
        pixels: float32 RGB [rows, columns, 3], 0 to 255; 0 is as dark as 1.
        strength: as above; 0.05 is called light, 0.2 strong.
        seed: int64 [2]; the same seed gives the same change.

    Returns:
        float32 like the pixels, 0 to 255.
    """
    change = tf.random.stateless_uniform([2, 3], seed, -strength, strength)
    density = -tf.math.log(tf.maximum(pixels, 1.0) / 255) / np.float32(np.log(10))
    stains = tf.tensordot(density, _UNMIX, 1) * (1 + change[0]) + change[1]
    return tf.clip_by_value(255 * tf.pow(10.0, -tf.tensordot(stains, _MIX, 1)), 0, 255)
