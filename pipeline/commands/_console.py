"""Where commands print tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 160  # where nobody's terminal sets one


def console() -> Console:
    """Standard output, on which nothing is coloured or taken for markup."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, highlight=False)
