"""What runs keep for later ones and nothing else removes: feature maps, and states of trainings given up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.workspace import Workspace

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class KeptFile:
    """A file that may be removed when nothing runs; what it holds is then computed again."""

    path: Path
    kind: str  # feature maps or checkpoint
    size: int  # bytes
    unused_days: float  # since it was last read or written


def kept_files(workspace: Workspace) -> list[KeptFile]:
    """All of a workspace, that which was used last at the end."""
    found = [
        KeptFile(path, kind, stat.st_size, (time.time() - max(stat.st_atime, stat.st_mtime)) / _DAY)
        for kind, root in (("feature maps", workspace.feature_maps), ("checkpoint", workspace.checkpoints))
        for path in sorted(root.rglob("*"))
        if path.is_file()
        for stat in (path.stat(),)
    ]
    return sorted(found, key=lambda file: -file.unused_days)


def remove_unused(workspace: Workspace, *, days: float) -> list[KeptFile]:
    """Removes what was not used for some days, and returns it.

    Args:
        workspace: in which nothing runs.
        days: 0 removes everything.
    """
    old = [file for file in kept_files(workspace) if file.unused_days >= days]
    for file in old:
        file.path.unlink(missing_ok=True)
    return old
