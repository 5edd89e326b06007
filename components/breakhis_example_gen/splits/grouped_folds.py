"""Divides patients for k-fold cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from components.breakhis_example_gen.splits.divide_class import divide_class
from pipeline.errors import UserError


def grouped_folds(
    order: Mapping[str, Sequence[str]], *, folds: int, fold: int, validation_share: float
) -> dict[str, str]:
    """The split of each patient where one fold is for test; over all folds each patient is for test once.

    Patients are dealt to the folds in turn, so that the sizes of folds differ by one patient at most, in each
    class and in all.

    Args:
        order: the patients of each class (`patient_order`).
        folds: how many there are.
        fold: the one for test, from 0.
        validation_share: of the patients of other folds, class by class and at least one.

    Raises:
        UserError: a class has too few patients for a fold each, or for train and validation beside a fold.
    """
    for label, patients in order.items():
        beside = len(patients) - -(-len(patients) // folds)  # the largest fold
        if len(patients) < folds or beside < 2:
            raise UserError(
                f"too few patients for data.split.folds={folds}: {label} has {len(patients)} "
                f"({', '.join(sorted(patients))}); have fewer folds, or add images of other patients"
            )
    of_fold = {patient: index % folds for index, patient in enumerate(chain(*order.values()))}
    assignment: dict[str, str] = {}
    for patients in order.values():
        test = [patient for patient in patients if of_fold[patient] == fold]
        others = [patient for patient in patients if of_fold[patient] != fold]
        assignment |= divide_class(test, others, validation_share=validation_share)
    return assignment
