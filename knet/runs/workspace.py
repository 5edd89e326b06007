"""The workspace: folders and files of a configuration's runs below `output`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from knet.base import schema_names


@dataclass(frozen=True)
class Workspace:
    """The folders and files below a configuration's `output`."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """TFX's pipeline root."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> Path:
        """The MLMD database."""
        return self.root / "metadata.sqlite"

    @property
    def served(self) -> Path:
        """The model base path of TF Serving, with a folder per version."""
        return self.root / "serving" / schema_names.MODEL_NAME

    @property
    def registry(self) -> Path:
        """The run registry."""
        return self.root / "registry"

    @property
    def fingerprints(self) -> Path:
        """Cached digests of data files."""
        return self.root / "fingerprints.json"

    @property
    def schema(self) -> Path:
        """The schema derived from a manifest's columns."""
        return self.root / "schema.pbtxt"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of unfinished trainings and searches."""
        return self.root / "checkpoints"

    @property
    def feature_maps(self) -> Path:
        """Cached feature maps of frozen blocks; may be removed when nothing runs."""
        return self.root / "feature-maps"

    @property
    def explanations(self) -> Path:
        """Cached heat maps of winners, a folder each; may be removed when nothing runs."""
        return self.root / "explanations"

    @property
    def reports(self) -> Path:
        """Reports, a folder per run."""
        return self.root / "reports"

    @property
    def monitor_page(self) -> Path:
        """The page of `knet monitor`."""
        return self.root / "monitor.html"

    @property
    def run_lock(self) -> Path:
        """The lock that the process of a run holds."""
        return self.root / "run.lock"

    @property
    def run_state(self) -> Path:
        """The state of the run in progress."""
        return self.root / "run.json"

    @property
    def log(self) -> Path:
        """The log of the libraries."""
        return self.root / "run.log"

    @property
    def sample_data(self) -> Path:
        """Synthetic images, a folder for each set of parameters."""
        return self.root / "sample-data"


_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class CacheFile:
    """A file that may be removed when nothing runs; its content is computed again when needed."""

    path: Path
    kind: str  # feature maps or checkpoint
    size: int  # bytes
    unused_days: float  # since the last read or write


def cache_files(workspace: Workspace) -> list[CacheFile]:
    """Return the cache files of a workspace, the most recently used last."""
    found = [
        CacheFile(path, kind, stat.st_size, (time.time() - max(stat.st_atime, stat.st_mtime)) / _DAY)
        for kind, root in (("feature maps", workspace.feature_maps), ("checkpoint", workspace.checkpoints))
        for path in sorted(root.rglob("*"))
        if path.is_file()
        for stat in (path.stat(),)
    ]
    return sorted(found, key=lambda file: -file.unused_days)


def remove_unused_files(workspace: Workspace, *, days: float) -> list[CacheFile]:
    """Remove cache files that have not been used for some days, and return them.

    Args:
        workspace: a workspace in which nothing runs.
        days: minimum time since the last use; 0 removes all.
    """
    old = [file for file in cache_files(workspace) if file.unused_days >= days]
    for file in old:
        file.path.unlink(missing_ok=True)
    return old
