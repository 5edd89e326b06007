"""Shares of patients, class by class."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.grouping import divide_class, grouped_folds, grouped_split, hold_out, patient_order
from knet.data.source import ImageFile

shares = st.floats(0.01, 0.99)


def order_of(benign: int, malignant: int) -> dict[str, list[str]]:
    sizes = {"benign": benign, "malignant": malignant}
    return {label: [f"{label}-{number}" for number in range(size)] for label, size in sizes.items()}


orders = st.builds(order_of, st.integers(3, 60), st.integers(3, 60))


@given(orders, shares, shares)
def test_every_patient_has_one_split_and_every_split_both_classes(
    order: dict[str, list[str]], test_share: float, validation_share: float
) -> None:
    assignment = grouped_split(order, test_share=test_share, validation_share=validation_share)
    assert assignment.keys() == {*order["benign"], *order["malignant"]}
    for patients in order.values():
        assert {assignment[patient] for patient in patients} == set(schema_names.SPLITS)


@given(orders, shares, shares)
def test_each_class_has_the_asked_shares_to_within_one_patient(
    order: dict[str, list[str]], test_share: float, validation_share: float
) -> None:
    assignment = grouped_split(order, test_share=test_share, validation_share=validation_share)
    for patients in order.values():
        counts = Counter(assignment[patient] for patient in patients)
        rest = (1 - test_share) * len(patients)
        # Where a share is less than one patient, "at least one each" has its way.
        assume(min(test_share * len(patients), validation_share * rest, (1 - validation_share) * rest) >= 1)
        assert abs(counts["test"] - test_share * len(patients)) <= 1
        assert abs(counts["validation"] - validation_share * (len(patients) - counts["test"])) <= 1


@pytest.mark.parametrize("patients", range(4, 200))
def test_the_paper_s_shares_are_72_18_and_10_percent_to_within_one_patient(patients: int) -> None:
    order = order_of(patients, patients)
    assignment = grouped_split(order, test_share=0.1, validation_share=0.2)
    for label in order:
        counts = Counter(assignment[patient] for patient in order[label])
        for split, share in {"train": 0.72, "validation": 0.18, "test": 0.10}.items():
            assert abs(counts[split] - share * patients) <= 1


def test_too_few_patients_are_named() -> None:
    with pytest.raises(
        UserError, match=r"too few patients: malignant has 2 \(malignant-0, malignant-1\), .* add"
    ):
        grouped_split(order_of(3, 2), test_share=0.1, validation_share=0.2)


@st.composite
def orders_and_folds(draw: st.DrawFn) -> tuple[dict[str, list[str]], int]:
    folds = draw(st.integers(2, 10))
    patients = st.integers(max(folds, 4), 60)
    return order_of(draw(patients), draw(patients)), folds


@given(orders_and_folds(), st.floats(0.01, 0.99))
def test_folds_are_a_partition_of_even_sizes(
    drawn: tuple[dict[str, list[str]], int], validation_share: float
) -> None:
    order, folds = drawn
    assignments = [
        grouped_folds(order, folds=folds, fold=fold, validation_share=validation_share)
        for fold in range(folds)
    ]
    patients = [patient for of_class in order.values() for patient in of_class]
    tested = Counter(patient for a in assignments for patient, split in a.items() if split == "test")
    assert tested == dict.fromkeys(patients, 1)
    for of_class in (*order.values(), patients):
        sizes = [sum(a[patient] == "test" for patient in of_class) for a in assignments]
        assert max(sizes) - min(sizes) <= 1
    for assignment in assignments:
        assert assignment.keys() == set(patients)
        for of_class in order.values():
            assert {assignment[patient] for patient in of_class} == set(schema_names.SPLITS)


@pytest.mark.parametrize(("benign", "folds"), [(4, 5), (3, 2), (2, 2)])
def test_too_few_patients_are_named_grouped_folds(benign: int, folds: int) -> None:
    with pytest.raises(
        UserError, match=rf"too few patients for data\.split\.folds={folds}: benign has {benign} \(benign-0, "
    ):
        grouped_folds(order_of(benign, 20), folds=folds, fold=0, validation_share=0.2)


@pytest.mark.parametrize(
    ("patients", "share", "leave", "held_out"),
    [
        (16, 0.1, 2, 2),
        (14, 0.2, 1, 3),
        (3, 0.01, 2, 1),  # at least one
        (3, 0.99, 2, 1),  # of which two are left
    ],
)
def test_the_first_are_held_out(patients: int, share: float, leave: int, held_out: int) -> None:
    names = [str(number) for number in range(patients)]
    assert hold_out(names, share, leave=leave) == (names[:held_out], names[held_out:])


@given(st.integers(2, 100), st.floats(0.01, 0.99))
def test_the_share_is_kept_to_half_a_patient_where_it_can_be(patients: int, share: float) -> None:
    held_out, others = hold_out([str(number) for number in range(patients)], share, leave=1)
    assert len(held_out) + len(others) == patients and held_out and others
    assert abs(len(held_out) - share * patients) <= 0.5 or len(held_out) in (1, patients - 1)


def test_the_first_of_the_others_are_for_validation() -> None:
    expected = {"a": "test", "b": "test", "c": "validation", "d": "train", "e": "train"}
    assert divide_class(["a", "b"], ["c", "d", "e"], validation_share=0.3) == expected


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
