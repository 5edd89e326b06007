"""Which commit of this repository runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def commit(root: Path = _ROOT) -> str | None:
    """The commit of a checkout, with `-dirty` behind it where tracked files differ from it.

    Args:
        root: its folder.

    Returns:
        Where the folder is no checkout, as in an installed package, what KNET_COMMIT says, which the image
        sets; None without it, or without git.
    """
    if not (root / ".git").exists():
        return os.environ.get("KNET_COMMIT") or None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
