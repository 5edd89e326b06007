"""One image as a tf.train.Example."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.breakhis_example_gen.example import make_example
from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.image_scalars import image_scalars
from components.breakhis_example_gen.quality import examine
from components.breakhis_example_gen.quarantine import UnusableError
from pipeline import features
from serving.messages import Example

CLASSES = ("benign", "malignant")
IMAGE = ImageFile(
    path="malignant/SOB/ductal_carcinoma/SOB_M_DC_14-22549AB/100X/SOB_M_DC-14-22549AB-100-003.png",
    label="malignant",
    patient="14-22549",
    columns=(("slide", "14-22549AB"), ("magnification", "100X")),
)


def values(record: bytes) -> dict[str, list[int] | list[bytes] | list[float]]:
    feature = Example.FromString(record).features.feature
    return {name: list(getattr(of, of.WhichOneof("kind")).value) for name, of in feature.items()}


def test_all_features_and_their_types(picture: Callable[..., bytes]) -> None:
    content = picture(size=(70, 46), colour=(200, 80, 160))
    ingested = make_example(IMAGE, content, split="validation", classes=CLASSES)
    scalars = image_scalars(examine(content).pixels)
    assert values(ingested.record) == {
        features.IMAGE: [content],
        features.LABEL: [1],
        features.PATH: [IMAGE.path.encode()],
        features.WIDTH: [70],
        features.HEIGHT: [46],
        features.PATIENT: [b"14-22549"],
        features.SPLIT: [b"validation"],
        "slide": [b"14-22549AB"],
        "magnification": [b"100X"],
        **{name: [pytest.approx(value, rel=1e-6)] for name, value in scalars.items()},
    }


def test_the_label_is_the_place_among_the_classes(picture: Callable[..., bytes]) -> None:
    ingested = make_example(IMAGE, picture(), split="train", classes=("malignant", "benign"))
    assert values(ingested.record)[features.LABEL] == [0]


def test_the_same_image_gives_the_same_bytes(picture: Callable[..., bytes]) -> None:
    one, other = (make_example(IMAGE, picture(), split="train", classes=CLASSES) for _ in range(2))
    assert one == other


def test_the_hash_is_of_the_pixels_and_not_of_the_file(picture: Callable[..., bytes]) -> None:
    def pixel_hash(content: bytes) -> str:
        return make_example(IMAGE, content, split="train", classes=CLASSES).pixel_hash

    same = pixel_hash(picture(colour=(1, 2, 3)))
    assert pixel_hash(picture(colour=(1, 2, 3), kind="TIFF")) == same
    assert pixel_hash(picture(colour=(1, 2, 4))) != same
    assert pixel_hash(picture(colour=(1, 2, 3), size=(32, 40))) != same  # as many pixels, in other rows


@pytest.mark.parametrize("kept", [0, 20, -30])
def test_a_truncated_image_is_unusable(picture: Callable[..., bytes], kept: int) -> None:
    with pytest.raises(UnusableError):
        make_example(IMAGE, picture(size=(70, 46))[:kept], split="train", classes=CLASSES)
