"""What the model says before it is exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.models import (  # noqa: F401 (what a saved model is made of)
    accumulating_model,
    global_contrast_normalization,
    macenko_normalization,
    raster_tokens,
    reinhard_normalization,
)
from pipeline.models.decode_image import decode_images


def ask_keras(file: Path, images: Sequence[bytes], *, size: int, temperature: float) -> list[list[float]]:
    """The calibrated probabilities of images, by Keras.

    Args:
        file: the trained model, `.keras`; it gives uncalibrated probabilities.
        images: PNG or JPEG bytes.
        size: pixels per side, as the model takes them.
        temperature: by which its logits are divided.
    """
    model = keras.saving.load_model(file, compile=False)
    pixels = decode_images(tf.constant(list(images)), size=size).numpy().astype(np.float32)
    # softmax(z / t) from p = softmax(z)
    answered = model.predict(pixels, verbose=0).astype(np.float64)
    logits = np.log(np.maximum(answered, np.finfo(np.float32).tiny))
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: list[list[float]] = (powers / powers.sum(axis=1, keepdims=True)).tolist()
    return probabilities
