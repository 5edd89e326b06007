"""The one place where chance comes in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.patient_order import patient_order
from pipeline.errors import UserError

CLASSES = ("benign", "malignant")


def image(label: str, patient: str, slide: str = "A") -> ImageFile:
    return ImageFile(f"{label}/{patient}{slide}.png", label, patient)


images_of_both = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 3)).map(
    lambda sizes: [
        image(label, f"{year}-{number}", slide)
        for label, year, patients in zip(CLASSES, (13, 14), sizes[:2], strict=True)
        for number in range(patients)
        for slide in "ABC"[: sizes[2]]
    ]
)


@given(images_of_both, st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
def test_every_patient_stands_once_and_the_order_of_images_does_not_matter(
    images: list[ImageFile], seed: int, shuffler: random.Random
) -> None:
    order = patient_order(images, classes=CLASSES, seed=seed)
    for label in CLASSES:
        assert sorted(order[label]) == sorted({image.patient for image in images if image.label == label})
    shuffler.shuffle(images)
    assert patient_order(images, classes=CLASSES, seed=seed) == order


def test_the_seed_decides() -> None:
    images = [image(label, f"{label}-{number}") for label in CLASSES for number in range(20)]
    orders = [patient_order(images, classes=CLASSES, seed=seed) for seed in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_classes_may_have_any_names() -> None:
    images = [image("yes", "1"), image("no", "2")]
    assert patient_order(images, classes=("no", "yes"), seed=0) == {"no": ["2"], "yes": ["1"]}


@pytest.mark.parametrize("images", [[], [image("malignant", "14-1")]])
def test_a_class_without_images_is_named(images: list[ImageFile]) -> None:
    with pytest.raises(UserError, match="no benign images: both classes, benign and malignant, are needed"):
        patient_order(images, classes=CLASSES, seed=0)


def test_a_patient_in_both_classes_is_named_with_a_file() -> None:
    images = [image("benign", "13-1"), image("malignant", "13-1")]
    with pytest.raises(UserError, match=r"13-1 has both benign and malignant .* check malignant/13-1A\.png"):
        patient_order(images, classes=CLASSES, seed=0)
