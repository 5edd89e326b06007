"""The versions of a served model: push, list, roll back and prune them."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knet.base.digests import folder_digest
from knet.base.disk import require_space
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.serving.models_config import (
    FILE_NAME,
    complete_versions,
    loaded_versions,
    newest_version,
    read_models_config,
    write_models_config,
)


def publish_model(model: Path, base_path: Path) -> str | None:
    """Make sure that a SavedModel is the newest version, unless it was rolled back.

    It is pushed unless the newest version has the same content, so a repeated push changes nothing.

    Args:
        model: folder of the SavedModel.
        base_path: folder that the servers watch; created if it is missing.

    Returns:
        The version; None for a model that was rolled back.
    """
    digest = folder_digest(model)
    if version := _newest_with(digest, base_path):
        return version
    if withdrawn_as(model, base_path):
        return None
    return push_version(model, base_path, unless_newest=digest)


def push_version(model: Path, base_path: Path, *, unless_newest: str | None = None) -> str:
    """Copy a SavedModel as the newest version, atomically.

    Args:
        model: folder of the SavedModel.
        base_path: folder that the servers watch; created if it is missing.
        unless_newest: digest of a content that the newest version may have; then nothing is pushed.

    Returns:
        The version number: that of the newest version, if it has that content; else the Unix time in seconds,
        or one more than the highest version ever pushed if that is larger.
    """
    base_path.mkdir(parents=True, exist_ok=True)
    with _locked(base_path):
        _remove_leftovers(base_path)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=base_path))
        owner = (staging / _OWNER).open("a")
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        needed = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
        require_space(base_path, needed, content="the model")
        copy = staging / "model"
        shutil.copytree(model, copy)
        with _locked(base_path):
            if unless_newest and (present := _newest_with(unless_newest, base_path)):
                return present
            version = str(max(int(time.time()), _highest_version(base_path) + 1))
            copy.rename(base_path / version)
            write_models_config(base_path)
    finally:
        with _locked(base_path):  # once its owner file is gone, another push takes the folder for a leftover
            shutil.rmtree(staging)
        owner.close()
    return version


_STAGING, _DELETING = ".pushing-", ".deleting-"  # prefixes of folders that no server reads
_OWNER = ".owner"  # file in a staging folder that its process holds a lock on


def leftovers(base_path: Path) -> list[Path]:
    """Folders that killed processes left, half pushed or half deleted."""
    return [
        *(folder for folder in base_path.glob(f"{_STAGING}*") if not _is_owned(folder)),
        *base_path.glob(f"{_DELETING}*"),
    ]


def remove_leftovers(base_path: Path) -> list[Path]:
    """Delete the folders that killed processes left, and return them."""
    if not base_path.is_dir():
        return []
    with _locked(base_path):
        return _remove_leftovers(base_path)


def _remove_leftovers(base_path: Path) -> list[Path]:
    found = leftovers(base_path)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)  # another process may be deleting it
    return found


def _is_owned(staging: Path) -> bool:
    """Whether a process that runs is pushing from a folder."""
    try:
        with (staging / _OWNER).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _newest_with(digest: str, base_path: Path) -> str | None:
    """The newest version, if its files have a digest."""
    newest = newest_version(base_path)
    return newest.name if newest and folder_digest(newest) == digest else None


def _highest_version(base_path: Path) -> int:
    """The highest version number, pruned withdrawn versions included; 0 if there is none."""
    names = [path.stem for folder in (base_path, base_path / _WITHDRAWN) for path in folder.glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def remove_version(version: str, base_path: Path) -> None:
    """Delete a version, for example one whose files are damaged."""
    with _locked(base_path):
        # Renamed first, so that no server reads a half-deleted version.
        removed = (base_path / version).rename(base_path / f"{_DELETING}{version}")
        write_models_config(base_path)
        shutil.rmtree(removed)


@contextmanager
def _locked(base_path: Path) -> Iterator[None]:
    """Hold the lock under which processes and threads change the versions of a folder."""
    with (base_path / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class StoredVersion:
    """One version of the served model."""

    number: int
    state: str  # served (loaded by a server that follows models.config), stored or withdrawn
    labels: tuple[str, ...]
    size: int  # bytes


def list_versions(base_path: Path) -> list[StoredVersion]:
    """All versions, newest first."""
    versions, withdrawn = complete_versions(base_path), withdrawn_versions(base_path)
    loaded, labels = set(sorted(versions)[-1:]), {}
    if (base_path / FILE_NAME).is_file():
        (model,) = read_models_config(base_path / FILE_NAME).model_config_list.config
        loaded, labels = loaded_versions(model, versions), dict(model.version_labels)
    states = {
        **dict.fromkeys(withdrawn, "withdrawn"),
        **{number: "served" if number in loaded else "stored" for number in versions},
    }
    folders = {**withdrawn, **versions}
    return [
        StoredVersion(
            number=number,
            state=states[number],
            labels=tuple(sorted(label for label, version in labels.items() if version == number)),
            size=sum(path.stat().st_size for path in folders[number].rglob("*") if path.is_file()),
        )
        for number in sorted(states, reverse=True)
    ]


def rollback_target(
    base_path: Path,
    to: int | None = None,
    *,
    production: int | None = None,
    is_known: Callable[[int], bool] = lambda version: True,
) -> int:
    """The version that a rollback serves.

    Args:
        base_path: the served folder.
        to: a stored or withdrawn version. None is the version in production if that is not the newest,
            because a rollback was interrupted or a push was not recorded; else the version before the newest.
        production: version in production.
        is_known: whether a recorded run pushed a version; others are passed over.

    Raises:
        UserError: there is no such version, or models.config cannot be read.
    """
    if (base_path / FILE_NAME).is_file():
        read_models_config(base_path / FILE_NAME)  # before anything is changed
    versions = complete_versions(base_path)
    if to is None:
        earlier = sorted(versions)[:-1]
        if production in earlier:
            return production
        candidates = [version for version in earlier if is_known(version)]
        if not candidates:
            unknown = f" that a recorded run pushed, only {', '.join(map(str, earlier))}" if earlier else ""
            raise UserError(
                f"{base_path} has no version before the newest{unknown}, so there is none to go back to"
            )
        return candidates[-1]
    known = {**versions, **withdrawn_versions(base_path)}
    if to not in known:
        raise UserError(f"{base_path} has no version {to}; there are {', '.join(map(str, sorted(known)))}")
    return to


def rollback(base_path: Path, target: int, *, grace_seconds: float = 0) -> list[int]:
    """Withdraw the versions above the target, so that servers serve it as the newest.

    A withdrawn target is restored first, so there is a version to serve at every moment.

    Args:
        base_path: the served folder.
        target: a version returned by `rollback_target`.
        grace_seconds: time between moving the labels off the newer versions and withdrawing these versions.
            A server that polls models.config less often may have a label without a version in between.

    Returns:
        The withdrawn versions, ascending.
    """
    with _locked(base_path):
        _restore(base_path, target)
        versions = complete_versions(base_path)
        newer = [version for version in versions if version > target]
        write_models_config(base_path, excluded=newer)
        time.sleep(grace_seconds)
        for version in reversed(newer):
            _withdraw(versions[version])
    return newer


_WITHDRAWN = ".withdrawn"  # below the served folder; servers ignore names that are not numbers
_DIGEST_SUFFIX = ".sha256"


def withdrawn_versions(base_path: Path) -> dict[int, Path]:
    """Folders of the withdrawn versions that were not pruned, by version number, ascending."""
    folders = (folder for folder in (base_path / _WITHDRAWN).glob("*") if folder.name.isdecimal())
    return {int(folder.name): folder for folder in sorted(folders, key=lambda folder: int(folder.name))}


def withdrawn_as(model: Path, base_path: Path) -> str | None:
    """The version under which a SavedModel was withdrawn, even if it was pruned since; None if it was not."""
    digests = {
        file.read_text("ascii"): version
        for file in (base_path / _WITHDRAWN).glob(f"[0-9]*{_DIGEST_SUFFIX}")
        # An interrupted rollback leaves digests of versions that are served.
        if not (base_path / (version := file.name.removesuffix(_DIGEST_SUFFIX))).is_dir()
    }
    return digests.get(folder_digest(model)) if digests else None


def _withdraw(folder: Path) -> None:
    """Move a version's folder to where servers do not look, beside its digest."""
    withdrawn = folder.parent / _WITHDRAWN
    atomic_write(withdrawn / f"{folder.name}{_DIGEST_SUFFIX}", folder_digest(folder))
    folder.rename(withdrawn / folder.name)


def _restore(base_path: Path, version: int) -> None:
    """Move a version back if it was withdrawn, and delete its digest."""
    if version in (withdrawn := withdrawn_versions(base_path)):
        withdrawn[version].rename(base_path / str(version))
    (base_path / _WITHDRAWN / f"{version}{_DIGEST_SUFFIX}").unlink(missing_ok=True)


def prune(base_path: Path, *, keep: int, in_use: Collection[int] = ()) -> list[int]:
    """Delete old versions and all withdrawn ones.

    Versions that have a label or are loaded by models.config stay. The digests of withdrawn versions stay.

    Args:
        base_path: the served folder.
        keep: number of newest versions to keep, at least 1.
        in_use: versions to keep whatever their age, withdrawn ones included.

    Returns:
        The deleted versions, ascending.
    """
    if not complete_versions(base_path):
        return []
    with _locked(base_path):
        versions = complete_versions(base_path)
        (model,) = read_models_config(write_models_config(base_path)).model_config_list.config
        retained = {*in_use, *model.version_labels.values(), *loaded_versions(model, versions)}
        retained.update(sorted(versions)[-keep:])
        deleted = {version: folder for version, folder in versions.items() if version not in retained}
        deleted |= {v: folder for v, folder in withdrawn_versions(base_path).items() if v not in in_use}
        for folder in deleted.values():
            # Renamed first, so that no server reads a half-deleted version.
            shutil.rmtree(folder.rename(base_path / f"{_DELETING}{folder.name}"))
    return sorted(deleted)
