"""One image as a tf.train.Example."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf

from components.breakhis_example_gen.executor import to_example
from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features
from pipeline.errors import UserError

IMAGE = ImageFile(
    path="malignant/SOB/ductal_carcinoma/SOB_M_DC_14-22549AB/100X/SOB_M_DC-14-22549AB-100-003.png",
    label="malignant",
    patient="14-22549",
    columns=(("slide", "14-22549AB"), ("magnification", "100X")),
)


def values(example: tf.train.Example) -> dict[str, list[int] | list[bytes] | list[float]]:
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    return {name: list(getattr(example.features.feature[name], kind).value) for name, kind in kinds.items()}


def test_all_features_and_their_types(picture: Callable[..., bytes]) -> None:
    content = picture(size=(70, 46))
    assert values(to_example(IMAGE, content=content, split="validation")) == {
        features.IMAGE: [content],
        features.LABEL: [1],
        features.PATH: [IMAGE.path.encode()],
        features.WIDTH: [70],
        features.HEIGHT: [46],
        features.PATIENT: [b"14-22549"],
        "slide": [b"14-22549AB"],
        "magnification": [b"100X"],
        features.SPLIT: [b"validation"],
    }


@pytest.mark.parametrize("kept", [0, 20, -30])
def test_a_truncated_image_is_named(picture: Callable[..., bytes], kept: int) -> None:
    with pytest.raises(UserError, match=rf"{IMAGE.path}: cannot be decoded"):
        to_example(IMAGE, content=picture(size=(70, 46))[:kept], split="train")
