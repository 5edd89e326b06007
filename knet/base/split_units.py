"""Units that a split divides: patients, or for the measurement of a leak slide folders or images."""

from __future__ import annotations

from typing import Final, Literal

SplitUnit = Literal["patient", "folder", "image"]
PATIENT: Final = "patient"
UNITS: Final[tuple[SplitUnit, ...]] = ("patient", "folder", "image")


def leak_warning(unit: str) -> str | None:
    """Return the warning for everything made with a split by a unit; None for patients, which do not leak."""
    if unit == PATIENT:
        return None
    return (
        f"Split by {unit} (data.split.unit): images of one patient may be in training and in test, so the "
        "metrics are too high. They measure this leak; no model is pushed."
    )
