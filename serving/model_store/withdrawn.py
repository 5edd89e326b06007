"""Versions that were rolled back: out of the servers' sight, and not to be pushed again by a repeated run."""

from __future__ import annotations

from pathlib import Path

from pipeline.digest import folder_digest

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
