"""Divides one class whose test patients are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from components.breakhis_example_gen.splits.hold_out import hold_out


def divide_class(test: Sequence[str], others: Sequence[str], *, validation_share: float) -> dict[str, str]:
    """The split of each patient.

    Args:
        test: the patients for test.
        others: those for validation and train, in random order; two or more.
        validation_share: of the others, in whole patients and at least one.
    """
    validation, train = hold_out(others, validation_share, leave=1)
    return {
        **dict.fromkeys(test, "test"),
        **dict.fromkeys(validation, "validation"),
        **dict.fromkeys(train, "train"),
    }
