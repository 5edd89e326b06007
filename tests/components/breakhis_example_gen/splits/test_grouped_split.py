"""Shares of patients, class by class."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.breakhis_example_gen.splits.grouped_split import grouped_split
from pipeline import features
from pipeline.errors import UserError

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
        assert {assignment[patient] for patient in patients} == set(features.SPLITS)


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
