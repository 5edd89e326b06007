"""Takes a share of patients out of a class."""

from __future__ import annotations

from collections.abc import Sequence


def hold_out(patients: Sequence[str], share: float, *, leave: int) -> tuple[Sequence[str], Sequence[str]]:
    """The first `share` of the patients, in whole patients and at least one, and the others.

    Args:
        patients: of one class, in random order; more than `leave`.
        share: between 0 and 1.
        leave: how many must be among the others at least.
    """
    count = min(max(1, round(share * len(patients))), len(patients) - leave)
    return patients[:count], patients[count:]
