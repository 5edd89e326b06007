"""Puts a model among the served versions, as a new one."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knet.base.digests import folder_digest
from knet.base.errors import UserError
from knet.serving.models_config import (
    NAME,
    complete_versions,
    loaded_versions,
    read_models_config,
    write_models_config,
)


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


@dataclass(frozen=True)
class StoredVersion:
    """One version."""

    number: int
    state: str  # served: a server that follows the model config has it loaded; kept; or withdrawn
    labels: tuple[str, ...]
    size: int  # bytes


def list_versions(base_path: Path) -> list[StoredVersion]:
    """All versions, the newest first."""
    versions = complete_versions(base_path)
    loaded, labels = set(sorted(versions)[-1:]), {}
    if (base_path / NAME).is_file():
        (model,) = read_models_config(base_path / NAME).model_config_list.config
        loaded, labels = loaded_versions(model, versions), dict(model.version_labels)
    states = {
        **dict.fromkeys(withdrawn_versions(base_path), "withdrawn"),
        **{number: "served" if number in loaded else "kept" for number in versions},
    }
    folders = {**withdrawn_versions(base_path), **versions}
    return [
        StoredVersion(
            number=number,
            state=states[number],
            labels=tuple(sorted(label for label, version in labels.items() if version == number)),
            size=sum(path.stat().st_size for path in folders[number].rglob("*") if path.is_file()),
        )
        for number in sorted(states, reverse=True)
    ]


_FILE = ".lock"


@contextmanager
def locked(base_path: Path) -> Iterator[None]:
    """Waits until no other process, or thread, changes the versions in a folder."""
    with (base_path / _FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


WITHDRAWN = ".withdrawn"  # below the served folder; servers pass over names that are no numbers
_DIGEST = ".sha256"


def withdraw(folder: Path) -> None:
    """Moves a version out of the servers' sight."""
    kept = folder.parent / WITHDRAWN
    kept.mkdir(exist_ok=True)
    (kept / f"{folder.name}{_DIGEST}").write_text(folder_digest(folder), encoding="ascii")
    folder.rename(kept / folder.name)


def restore(base_path: Path, version: int) -> None:
    """Brings a withdrawn version back."""
    kept = base_path / WITHDRAWN
    (kept / str(version)).rename(base_path / str(version))
    (kept / f"{version}{_DIGEST}").unlink()


def withdrawn_versions(base_path: Path) -> dict[int, Path]:
    """The folders of withdrawn versions that were not pruned, by their number, the lowest first."""
    folders = (folder for folder in (base_path / WITHDRAWN).glob("*") if folder.name.isdecimal())
    return {int(folder.name): folder for folder in sorted(folders, key=lambda folder: int(folder.name))}


def withdrawn_as(model: Path, base_path: Path) -> str | None:
    """The version under which a SavedModel was withdrawn, or None; also after it was pruned."""
    digests = {
        file.read_text("ascii"): file.name.removesuffix(_DIGEST)
        for file in (base_path / WITHDRAWN).glob(f"*{_DIGEST}")
    }
    return digests.get(folder_digest(model)) if digests else None
