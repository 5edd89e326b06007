"""Where two configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSENT = "–"


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The fields that are not equal, by path, with both values; a field that one lacks is `ABSENT` there."""
    left, right = _flat(first), _flat(second)
    return {
        path: (left.get(path, ABSENT), right.get(path, ABSENT))
        for path in {**left, **right}
        if left.get(path, ABSENT) != right.get(path, ABSENT)
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            fields |= _flat(value, f"{above}{name}.")
        else:
            fields[above + name] = str(value)
    return fields
