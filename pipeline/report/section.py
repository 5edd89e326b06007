"""A part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """What `templates/<name>.html` shows under a title; or, where that is nothing, the reason.

    A reader who expects a section finds it, empty or not.
    """

    name: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""
