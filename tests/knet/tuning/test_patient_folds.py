"""Folds hold whole patients out, of both classes, and say when there are too few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.tuning.patient_folds import grouped_folds


@st.composite
def images(draw: st.DrawFn) -> tuple[list[str], list[int], int]:
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


@given(images(), st.integers(0, 99))
def test_no_patient_is_learnt_from_and_held_out(images: tuple[list[str], list[int], int], seed: int) -> None:
    patients, labels, folds = images
    held_out = grouped_folds(patients, labels, folds=folds, seed=seed)
    assert len(held_out) == folds
    for held in held_out:
        out = {patient for patient, here in zip(patients, held, strict=True) if here}
        learnt = {patient for patient, here in zip(patients, held, strict=True) if not here}
        assert not out & learnt and out | learnt == set(patients)
        for part in (held, ~held):
            assert set(np.array(labels)[part].tolist()) == {0, 1}
    if folds > 1:
        assert np.sum(held_out, axis=0).tolist() == [1] * len(patients)
    again = grouped_folds(patients, labels, folds=folds, seed=seed)
    assert all(np.array_equal(one, other) for one, other in zip(held_out, again, strict=True))


def test_a_single_fold_holds_out_a_fifth_of_the_patients() -> None:
    patients = [f"{number:02}" for number in range(40)]
    (held,) = grouped_folds(patients, [number % 2 for number in range(40)], folds=1, seed=0)
    assert held.sum() == 8


def test_a_patient_with_images_of_both_classes_stays_whole() -> None:
    patients = ["a", "a", "b", "b", "c", "d", "e"]
    held_out = grouped_folds(patients, [0, 1, 1, 1, 0, 0, 1], folds=2, seed=0)
    assert all(held[0] == held[1] for held in held_out)


@pytest.mark.parametrize(
    ("folds", "benign", "message"),
    [
        (4, 3, r"4 needs 4 training patients of each class, and one class has 3; set tuning.folds=3"),
        (3, 2, r"one class has 2; set tuning.folds=1"),
        (1, 1, r"1 needs 2 training patients of each class, and one class has 1; set tuning=null"),
        (1, 0, r"one class has 0; set tuning=null"),
    ],
)
def test_too_few_patients_are_refused(folds: int, benign: int, message: str) -> None:
    labels = [0] * benign + [1] * 9
    with pytest.raises(UserError, match=message):
        grouped_folds([str(n) for n in range(len(labels))], labels, folds=folds, seed=0)
