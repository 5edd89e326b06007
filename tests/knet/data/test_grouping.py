"""Grouped splits and folds."""

from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.grouping import (
    check_every_class,
    held_out_masks,
    hold_out,
    patients_by_class,
    split_by_fold,
    split_by_share,
    split_class,
    strata,
)
from knet.data.source import ImageFile

shares = st.floats(0.01, 0.99)


def order_of(benign: int, malignant: int) -> dict[str, list[str]]:
    sizes = {"benign": benign, "malignant": malignant}
    return {label: [f"{label}-{number}" for number in range(size)] for label, size in sizes.items()}


orders = st.builds(order_of, st.integers(3, 60), st.integers(3, 60))


@given(orders, shares, shares)
def test_split_by_share_gives_every_split_both_classes(
    order: dict[str, list[str]], test_share: float, validation_share: float
) -> None:
    assignment = split_by_share(order, test_share=test_share, validation_share=validation_share)
    assert assignment.keys() == {*order["benign"], *order["malignant"]}
    for patients in order.values():
        assert {assignment[patient] for patient in patients} == set(schema_names.SPLITS)


@given(orders, shares, shares)
def test_split_by_share_is_within_one_patient_of_the_shares(
    order: dict[str, list[str]], test_share: float, validation_share: float
) -> None:
    assignment = split_by_share(order, test_share=test_share, validation_share=validation_share)
    for patients in order.values():
        counts = Counter(assignment[patient] for patient in patients)
        rest = (1 - test_share) * len(patients)
        # Where a share is less than one patient, "at least one each" has its way.
        assume(min(test_share * len(patients), validation_share * rest, (1 - validation_share) * rest) >= 1)
        assert abs(counts["test"] - test_share * len(patients)) <= 1
        assert abs(counts["validation"] - validation_share * (len(patients) - counts["test"])) <= 1


@pytest.mark.parametrize("patients", range(4, 200))
def test_split_by_share_of_the_paper_is_72_18_and_10_percent(patients: int) -> None:
    order = order_of(patients, patients)
    assignment = split_by_share(order, test_share=0.1, validation_share=0.2)
    for label in order:
        counts = Counter(assignment[patient] for patient in order[label])
        for split, share in {"train": 0.72, "validation": 0.18, "test": 0.10}.items():
            assert abs(counts[split] - share * patients) <= 1


def test_split_by_share_with_too_few_patients_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"too few patients: malignant has 2 \(malignant-0, malignant-1\), .* add"
    ):
        split_by_share(order_of(3, 2), test_share=0.1, validation_share=0.2)


@st.composite
def orders_and_folds(draw: st.DrawFn) -> tuple[dict[str, list[str]], int]:
    folds = draw(st.integers(2, 10))
    patients = st.integers(max(folds, 4), 60)
    return order_of(draw(patients), draw(patients)), folds


@given(orders_and_folds(), st.floats(0.01, 0.99))
def test_split_by_fold_partitions_patients_evenly(
    drawn: tuple[dict[str, list[str]], int], validation_share: float
) -> None:
    order, folds = drawn
    assignments = [
        split_by_fold(order, folds=folds, fold=fold, validation_share=validation_share)
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
def test_split_by_fold_with_too_few_patients_is_refused(benign: int, folds: int) -> None:
    with pytest.raises(
        UserError, match=rf"too few patients for data\.split\.folds={folds}: benign has {benign} \(benign-0, "
    ):
        split_by_fold(order_of(benign, 20), folds=folds, fold=0, validation_share=0.2)


@pytest.mark.parametrize(
    ("patients", "share", "min_rest", "held_out"),
    [
        (16, 0.1, 2, 2),
        (14, 0.2, 1, 3),
        (3, 0.01, 2, 1),  # at least one
        (3, 0.99, 2, 1),  # of which two are left
    ],
)
def test_hold_out_returns_the_first_patients(
    patients: int, share: float, min_rest: int, held_out: int
) -> None:
    names = [str(number) for number in range(patients)]
    assert hold_out(names, share, min_rest=min_rest) == (names[:held_out], names[held_out:])


@given(st.integers(2, 100), st.floats(0.01, 0.99))
def test_hold_out_is_within_half_a_patient_of_the_share(patients: int, share: float) -> None:
    held_out, others = hold_out([str(number) for number in range(patients)], share, min_rest=1)
    assert len(held_out) + len(others) == patients and held_out and others
    assert abs(len(held_out) - share * patients) <= 0.5 or len(held_out) in (1, patients - 1)


def test_split_class_validates_on_the_first_of_the_rest() -> None:
    expected = {"a": "test", "b": "test", "c": "validation", "d": "train", "e": "train"}
    assert split_class(["a", "b"], ["c", "d", "e"], validation_share=0.3) == expected


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
def test_patients_by_class_ignores_the_order_of_images(
    images: list[ImageFile], seed: int, shuffler: random.Random
) -> None:
    order = patients_by_class(images, classes=CLASSES, seed=seed)
    for label in CLASSES:
        assert sorted(order[label]) == sorted({image.patient for image in images if image.label == label})
    shuffler.shuffle(images)
    assert patients_by_class(images, classes=CLASSES, seed=seed) == order


def test_patients_by_class_depends_on_the_seed() -> None:
    images = [image(label, f"{label}-{number}") for label in CLASSES for number in range(20)]
    orders = [patients_by_class(images, classes=CLASSES, seed=seed) for seed in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_patients_by_class_accepts_any_class_names() -> None:
    images = [image("yes", "1"), image("no", "2")]
    assert patients_by_class(images, classes=("no", "yes"), seed=0) == {"no": ["2"], "yes": ["1"]}


@pytest.mark.parametrize("images", [[], [image("malignant", "14-1")]])
def test_patients_by_class_without_images_of_a_class_is_refused(images: list[ImageFile]) -> None:
    with pytest.raises(UserError, match="no benign images: both classes, benign and malignant, are needed"):
        patients_by_class(images, classes=CLASSES, seed=0)


def test_patients_by_class_with_a_patient_in_both_is_refused() -> None:
    images = [image("benign", "13-1"), image("malignant", "13-1")]
    with pytest.raises(UserError, match=r"13-1 has both benign and malignant .* check malignant/13-1A\.png"):
        patients_by_class(images, classes=CLASSES, seed=0)


@st.composite
def images_and_folds(draw: st.DrawFn) -> tuple[list[str], list[int], int]:
    """Patients and labels of images in any order, and a number of folds that they allow."""
    folds = draw(st.integers(1, 5))
    by_class = [draw(st.integers(max(folds, 2), 9)) for _ in range(2)]
    rows = [
        (f"{label}-{patient}", label)
        for label, count in enumerate(by_class)
        for patient in range(count)
        for _ in range(draw(st.integers(1, 3)))
    ]
    rows = draw(st.permutations(rows))
    return [patient for patient, _ in rows], [label for _, label in rows], folds


@given(images_and_folds(), st.integers(0, 99))
def test_held_out_masks_never_divide_a_patient(images: tuple[list[str], list[int], int], seed: int) -> None:
    patients, labels, folds = images
    held_out = held_out_masks(patients, labels, classes=CLASSES, folds=folds, seed=seed)
    assert len(held_out) == folds
    for held in held_out:
        out = {patient for patient, here in zip(patients, held, strict=True) if here}
        trained = {patient for patient, here in zip(patients, held, strict=True) if not here}
        assert not out & trained and out | trained == set(patients)
        for part in (held, ~held):
            assert set(np.array(labels)[part].tolist()) == {0, 1}
    if folds > 1:
        assert np.sum(held_out, axis=0).tolist() == [1] * len(patients)
    again = held_out_masks(patients, labels, classes=CLASSES, folds=folds, seed=seed)
    assert all(np.array_equal(one, other) for one, other in zip(held_out, again, strict=True))


def test_held_out_masks_of_a_single_fold_hold_out_a_fifth() -> None:
    patients = [f"{number:02}" for number in range(40)]
    (held,) = held_out_masks(patients, [number % 2 for number in range(40)], classes=CLASSES, folds=1, seed=0)
    assert held.sum() == 8


def test_held_out_masks_keep_a_patient_of_both_classes_whole() -> None:
    patients = ["a", "a", "b", "b", "c", "d", "e"]
    held_out = held_out_masks(patients, [0, 1, 1, 1, 0, 0, 1], classes=CLASSES, folds=2, seed=0)
    assert all(held[0] == held[1] for held in held_out)


@pytest.mark.parametrize(
    ("folds", "benign", "message"),
    [
        (4, 3, r"4 needs 4 training patients of each class, and benign has 3; set tuning.folds=3"),
        (3, 2, r"benign has 2; set tuning.folds=1"),
        (1, 1, r"1 needs 2 training patients of each class, and benign has 1; set tuning=null"),
        (1, 0, r"benign has 0; set tuning=null"),
    ],
)
def test_held_out_masks_with_too_few_patients_are_refused(folds: int, benign: int, message: str) -> None:
    labels = [0] * benign + [1] * 9
    with pytest.raises(UserError, match=message):
        held_out_masks([str(n) for n in range(len(labels))], labels, classes=CLASSES, folds=folds, seed=0)


THREE = ("a", "b", "c")
# Classes of each patient.
patients_of_several = st.lists(st.sets(st.sampled_from(THREE), min_size=1), min_size=1, max_size=40)


def by_class(patients: list[set[str]]) -> dict[str, list[str]]:
    images = [image(label, str(number)) for number, labels in enumerate(patients) for label in labels]
    return patients_by_class(images, classes=THREE, seed=0)


def test_strata_of_disjoint_classes_are_the_classes() -> None:
    order = order_of(5, 3)
    assert list(strata(order).items()) == list(order.items())


def test_strata_have_a_patient_of_several_classes_in_the_rarest() -> None:
    patients = {"a": ["1", "2", "3"], "b": ["2", "4"], "c": ["3"]}
    assert strata(patients) == {"a": ["1"], "b": ["2", "4"], "c": ["3"]}


@given(patients_of_several, shares, shares)
def test_split_by_share_has_every_class_or_names_one(
    patients: list[set[str]], test_share: float, validation_share: float
) -> None:
    try:
        members = by_class(patients)
        assignment = split_by_share(members, test_share=test_share, validation_share=validation_share)
    except UserError as error:
        assert re.match(
            "(too few patients: [abc] has|no [abc] images: all classes, a, b and c, )", str(error)
        )
        return
    assert assignment.keys() == {str(number) for number in range(len(patients))}
    for of_class in members.values():
        assert {assignment[patient] for patient in of_class} == set(schema_names.SPLITS)


@given(patients_of_several, st.integers(2, 5), shares)
def test_split_by_fold_has_every_class_or_names_one(
    patients: list[set[str]], folds: int, validation_share: float
) -> None:
    try:
        members = by_class(patients)
        assignments = [
            split_by_fold(members, folds=folds, fold=fold, validation_share=validation_share)
            for fold in range(folds)
        ]
    except UserError as error:
        assert re.match("(too few patients.*: [abc] has|no [abc] images: all classes)", str(error))
        return
    tested = [
        patient for assignment in assignments for patient in assignment if assignment[patient] == "test"
    ]
    assert sorted(tested, key=int) == [str(number) for number in range(len(patients))]
    for assignment in assignments:
        for of_class in members.values():
            assert {assignment[patient] for patient in of_class} == set(schema_names.SPLITS)


def test_split_by_share_divides_patients_of_one_class_evenly_beside_others() -> None:
    members = by_class([{"a", "b", "c"}] * 10 + [{"a"}] * 20)
    assignment = split_by_share(members, test_share=0.1, validation_share=0.2)
    for label, expected in {"a": (21, 6, 3), "b": (7, 2, 1), "c": (7, 2, 1)}.items():
        counts = Counter(assignment[patient] for patient in members[label])
        assert (counts["train"], counts["validation"], counts["test"]) == expected


def test_check_every_class_names_a_class_that_a_split_lacks() -> None:
    patients = {"a": ["1", "2", "3"], "b": ["1", "4"]}
    splits = {"1": "train", "2": "validation", "3": "test", "4": "train"}
    message = r"too few patients: b has 2 \(1, 4\), and none of them is for validation and test; set another"
    with pytest.raises(UserError, match=message):
        check_every_class(patients, splits)


def test_held_out_masks_of_three_classes_have_each_in_every_fold() -> None:
    patients = [str(number // 2) for number in range(36)]
    labels = [number // 2 % 3 for number in range(36)]
    for held in held_out_masks(patients, labels, classes=THREE, folds=3, seed=0):
        assert set(np.array(labels)[held].tolist()) == {0, 1, 2}
        assert held.sum() == 12


def test_held_out_masks_name_the_class_with_too_few_patients() -> None:
    with pytest.raises(UserError, match="of each class, and c has 1; set tuning=null"):
        held_out_masks(list("123456"), [0, 0, 1, 1, 1, 2], classes=THREE, folds=2, seed=0)
