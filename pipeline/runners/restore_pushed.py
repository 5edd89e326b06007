"""Makes a cached push true again: Pusher's cache does not look at the served folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from serving.versions import newest_version


def restore_pushed(served: Path, *, version: str, archive: Path) -> str:
    """Pushes an archived model again, unless its version is still the newest one served.

    It is not when another model was pushed since, or when the served folder was removed. The new version
    folder appears whole or not at all.

    Args:
        served: the folder that TF Serving watches.
        version: under which the model was pushed first.
        archive: the PushedModel artifact, which holds a copy of it.

    Returns:
        The version under which the model is served now.
    """
    newest = newest_version(served)
    if newest is not None and newest.name == version:
        return version
    number = max(int(time.time()), int(newest.name) + 1 if newest else 0)
    unfinished = served / f".{number}"
    shutil.copytree(archive, unfinished)
    unfinished.rename(served / str(number))
    return str(number)
