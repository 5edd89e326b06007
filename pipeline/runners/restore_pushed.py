"""Makes a cached push true again: Pusher's cache does not look at the served folder."""

from __future__ import annotations

from pathlib import Path

from serving.model_store.push_version import push_version
from serving.model_store.withdrawn import withdrawn_as
from serving.versions import newest_version


def restore_pushed(served: Path, *, version: str, archive: Path) -> str | None:
    """Pushes an archived model again, unless its version is still the newest one served.

    It is not when another model was pushed since, or when the served folder was removed. A model that was
    rolled back is not pushed again.

    Args:
        served: the folder that TF Serving watches.
        version: under which the model was pushed first.
        archive: the PushedModel artifact, which holds a copy of it.

    Returns:
        The version under which the model is served now, or None where it was rolled back.
    """
    newest = newest_version(served)
    if newest is not None and newest.name == version:
        return version
    if withdrawn_as(archive, served):
        return None
    return push_version(archive, served)
