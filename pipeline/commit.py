"""Which commit of this repository runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def commit(root: Path = _ROOT) -> str | None:
    """The commit of a checkout, with `-dirty` behind it where tracked files differ from it.

    Args:
        root: its folder.

    Returns:
        None where the folder is no checkout, as in an installed package, or there is no git.
    """
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
