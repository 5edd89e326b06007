"""Cross-validation over patients."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.splits.grouped_folds import grouped_folds
from pipeline import features
from pipeline.errors import UserError


def order_of(benign: int, malignant: int) -> dict[str, list[str]]:
    sizes = {"benign": benign, "malignant": malignant}
    return {label: [f"{label}-{number}" for number in range(size)] for label, size in sizes.items()}


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
            assert {assignment[patient] for patient in of_class} == set(features.SPLITS)


@pytest.mark.parametrize(("benign", "folds"), [(4, 5), (3, 2), (2, 2)])
def test_too_few_patients_are_named(benign: int, folds: int) -> None:
    with pytest.raises(
        UserError, match=rf"too few patients for data\.split\.folds={folds}: benign has {benign} \(benign-0, "
    ):
        grouped_folds(order_of(benign, 20), folds=folds, fold=0, validation_share=0.2)
