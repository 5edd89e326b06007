"""Puts a model among the served versions, as a new one."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from serving.model_store.locked import locked
from serving.model_store.models_config import write_models_config
from serving.model_store.withdrawn import WITHDRAWN


def push_version(model: Path, base_path: Path) -> str:
    """Copies a SavedModel as the newest version, which appears whole or not at all.

    Args:
        model: the SavedModel's folder.
        base_path: the folder that servers watch; made where it is missing.

    Returns:
        The version: the time in seconds, or more where that would not be above every version there was.
    """
    base_path.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".pushing-", dir=base_path))
    try:
        copy = unfinished / "model"
        shutil.copytree(model, copy)
        with locked(base_path):
            version = str(max(int(time.time()), _highest(base_path) + 1))
            copy.rename(base_path / version)
            write_models_config(base_path)
    finally:
        shutil.rmtree(unfinished)
    return version


def _highest(base_path: Path) -> int:
    """Of all versions that were ever there, as far as they left a trace."""
    names = [path.name for folder in (base_path, base_path / WITHDRAWN) for path in folder.glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)
