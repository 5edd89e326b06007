"""Deletes old versions."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from serving.model_store.locked import locked
from serving.model_store.models_config import loaded_versions, read_models_config, write_models_config
from serving.model_store.withdrawn import withdrawn_versions
from serving.versions import complete_versions


def prune(base_path: Path, *, keep: int, in_use: Collection[int] = ()) -> list[int]:
    """Deletes all but the newest versions, and all withdrawn ones; returns what was deleted.

    Versions that bear a label or are loaded by the model config stay.

    Args:
        base_path: the served folder.
        keep: how many of the newest stay, at least.
        in_use: versions that stay whatever their age.
    """
    if not complete_versions(base_path):
        return []
    with locked(base_path):
        return _prune(base_path, keep=keep, in_use=in_use)


def _prune(base_path: Path, *, keep: int, in_use: Collection[int]) -> list[int]:
    versions = complete_versions(base_path)
    (model,) = read_models_config(write_models_config(base_path)).model_config_list.config
    stay = {*in_use, *model.version_labels.values(), *loaded_versions(model, versions)}
    stay.update(sorted(versions)[-keep:])
    old = {version: folder for version, folder in versions.items() if version not in stay}
    withdrawn = {v: folder for v, folder in withdrawn_versions(base_path).items() if v not in in_use}
    for folder in (*old.values(), *withdrawn.values()):
        # Renamed first, so that no server sees half a version.
        shutil.rmtree(folder.rename(base_path / f".deleting-{folder.name}"))
    return sorted({**old, **withdrawn})
