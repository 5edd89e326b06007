"""The values of a protobuf field, be it repeated or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def items(value: Any) -> Sequence[Any]:
    """What `ListFields` gives as a field's value, as a sequence."""
    return value if hasattr(value, "append") else [value]
