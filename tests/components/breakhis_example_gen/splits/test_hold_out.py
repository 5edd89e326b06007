"""Shares of whole patients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.splits.hold_out import hold_out


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
