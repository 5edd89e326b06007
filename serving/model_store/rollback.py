"""Serves an earlier version again."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.errors import UserError
from serving.model_store.locked import locked
from serving.model_store.models_config import write_models_config
from serving.model_store.withdrawn import restore, withdraw, withdrawn_versions
from serving.versions import complete_versions


def rollback_target(base_path: Path, to: int | None = None) -> int:
    """The version that a rollback serves: the one before the newest, unless one is named.

    Raises:
        UserError: there is no such version.
    """
    versions = complete_versions(base_path)
    if to is None:
        if len(versions) < 2:
            raise UserError(f"{base_path} has no version before the newest, so there is none to go back to")
        return sorted(versions)[-2]
    known = {**versions, **withdrawn_versions(base_path)}
    if to not in known:
        raise UserError(f"{base_path} has no version {to}; there are {', '.join(map(str, sorted(known)))}")
    return to


def rollback(base_path: Path, target: int, *, notice: float = 0) -> list[int]:
    """Makes a version the newest that servers see, by withdrawing the newer ones; returns these.

    A withdrawn version is brought back. At every moment there is a version to serve.

    Args:
        base_path: the served folder.
        target: a version of `rollback_target`.
        notice: seconds between the labels' leaving the newer versions and these versions' going; without,
            a server that looks at the model config rarely may have a label without a version for as long.
    """
    with locked(base_path):
        if target in withdrawn_versions(base_path):
            restore(base_path, target)
        versions = complete_versions(base_path)
        newer = [version for version in versions if version > target]
        write_models_config(base_path, leaving=newer)
        time.sleep(notice)
        for version in reversed(newer):
            withdraw(versions[version])
    return newer
