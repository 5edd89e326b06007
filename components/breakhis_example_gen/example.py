"""One image file as a tf.train.Example."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.image_scalars import image_scalars
from components.breakhis_example_gen.quality import examine
from pipeline import features
from serving.messages import Example


@dataclass(frozen=True)
class Ingested:
    """An image that is ready to be written."""

    record: bytes  # the serialised example: the same image gives the same bytes
    pixel_hash: str  # SHA-256 of size and pixels, in hexadecimal


def make_example(image: ImageFile, content: bytes, *, split: str, classes: Sequence[str]) -> Ingested:
    """Decodes and judges an image, and makes the example with the features named in `pipeline.features`.

    Raises:
        UnusableError: the content is not an image that can be used; the text is the reason.
    """
    good = examine(content)
    height, width, _ = good.pixels.shape
    texts = {
        features.PATH: image.path,
        features.PATIENT: image.patient,
        features.SPLIT: split,
        **dict(image.columns),
    }
    example = Example()
    feature = example.features.feature
    feature[features.IMAGE].bytes_list.value.append(good.encoded)
    feature[features.LABEL].int64_list.value.append(classes.index(image.label))
    feature[features.WIDTH].int64_list.value.append(width)
    feature[features.HEIGHT].int64_list.value.append(height)
    for name, text in texts.items():
        feature[name].bytes_list.value.append(text.encode())
    for name, value in image_scalars(good.pixels).items():
        feature[name].float_list.value.append(value)
    return Ingested(example.SerializeToString(deterministic=True), _pixel_hash(good.pixels))


def _pixel_hash(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
