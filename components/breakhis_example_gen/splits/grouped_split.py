"""Divides patients by shares, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.breakhis_example_gen.splits.divide_class import divide_class
from components.breakhis_example_gen.splits.hold_out import hold_out
from pipeline import features
from pipeline.errors import UserError


def grouped_split(
    order: Mapping[str, Sequence[str]], *, test_share: float, validation_share: float
) -> dict[str, str]:
    """The split of each patient: in each class `test_share` for test, `validation_share` of the others.

    Counted in patients and rounded to whole ones, at least one each. From 0.10 and 0.20 come 72, 18 and 10 %
    for train, validation and test, to within one patient in any class of four or more.

    Args:
        order: the patients of each class (`patient_order`).
        test_share: of all patients.
        validation_share: of those that are not for test.

    Raises:
        UserError: a class has too few patients for three splits.
    """
    assignment: dict[str, str] = {}
    for label, patients in order.items():
        if len(patients) < len(features.SPLITS):
            raise UserError(
                f"too few patients: {label} has {len(patients)} ({', '.join(sorted(patients))}), but train, "
                "validation and test need one each at least; add images of other patients"
            )
        test, others = hold_out(patients, test_share, leave=2)
        assignment |= divide_class(test, others, validation_share=validation_share)
    return assignment
