"""Divides the training patients into folds, to judge hyperparameters by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from knet.base.errors import UserError

_SINGLE = 5  # with one fold, a fifth of the patients is held out


def grouped_folds(
    patients: Sequence[str], labels: Sequence[int], *, folds: int, seed: int
) -> list[np.ndarray]:
    """Which images each fold holds out, as booleans [images]; both classes are in every fold.

    The patients of each class are dealt out in an order of the seed. One with images of both classes counts
    as positive. Several folds hold every image out once; a single one holds out a fifth of the patients.

    Args:
        patients: of each image.
        labels: of each image, 0 or 1.
        folds: how many.
        seed: of the order.

    Raises:
        UserError: a class has too few patients.
    """
    of, positive = np.asarray(patients), np.asarray(labels) > 0
    malignant = set(of[positive].tolist())
    by_class = [sorted(set(of.tolist()) - malignant), sorted(malignant)]
    check_patients([len(members) for members in by_class], folds=folds)
    count = folds if folds > 1 else min(_SINGLE, *map(len, by_class))
    rng = np.random.default_rng(seed)
    order = [str(patient) for members in by_class for patient in rng.permutation(members)]
    fold_of = {patient: place % count for place, patient in enumerate(order)}
    fold = np.array([fold_of[patient] for patient in of.tolist()])
    return [fold == number for number in range(folds)]


def check_patients(counts: Sequence[int], *, folds: int) -> None:
    """Checks that there are enough training patients of each class.

    Raises:
        UserError: there are not; the text says how many folds there can be.
    """
    fewest, needed = min(counts), max(folds, 2)
    if fewest >= needed:
        return
    remedy = f"set tuning.folds={fewest if fewest > 2 else 1}" if fewest >= 2 else "set tuning=null"
    raise UserError(
        f"tuning.folds: {folds} needs {needed} training patients of each class, and one class has {fewest}; "
        f"{remedy}, or give more of them to training"
    )
