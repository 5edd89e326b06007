"""Where a configuration's runs keep their things."""

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
        """The folder that TF Serving watches; it holds a folder a version."""
        return self.root / "serving" / schema_names.MODEL_NAME

    @property
    def registry(self) -> Path:
        """The run registry."""
        return self.root / "registry"

    @property
    def fingerprints(self) -> Path:
        """The digests of files that were read before."""
        return self.root / "fingerprints.json"

    @property
    def schema(self) -> Path:
        """The schema of what a manifest lists."""
        return self.root / "schema.pbtxt"

    @property
    def checkpoints(self) -> Path:
        """The states of trainings and searches that have not ended."""
        return self.root / "checkpoints"

    @property
    def feature_maps(self) -> Path:
        """What frozen blocks make of the images; may be removed when nothing runs."""
        return self.root / "feature-maps"

    @property
    def explanations(self) -> Path:
        """Heat maps of winners, a folder each; may be removed when nothing runs."""
        return self.root / "explanations"

    @property
    def reports(self) -> Path:
        """A folder a run."""
        return self.root / "reports"

    @property
    def monitor_page(self) -> Path:
        """The page on what served models were asked."""
        return self.root / "monitor.html"

    @property
    def log(self) -> Path:
        """What the libraries have to say."""
        return self.root / "run.log"

    @property
    def sample_data(self) -> Path:
        """The synthetic images, a folder for each set of parameters."""
        return self.root / "sample-data"


_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class CacheFile:
    """A file that may be removed when nothing runs; what it holds is then computed again."""

    path: Path
    kind: str  # feature maps or checkpoint
    size: int  # bytes
    unused_days: float  # since it was last read or written


def cache_files(workspace: Workspace) -> list[CacheFile]:
    """All of a workspace, that which was used last at the end."""
    found = [
        CacheFile(path, kind, stat.st_size, (time.time() - max(stat.st_atime, stat.st_mtime)) / _DAY)
        for kind, root in (("feature maps", workspace.feature_maps), ("checkpoint", workspace.checkpoints))
        for path in sorted(root.rglob("*"))
        if path.is_file()
        for stat in (path.stat(),)
    ]
    return sorted(found, key=lambda file: -file.unused_days)


def remove_unused_files(workspace: Workspace, *, days: float) -> list[CacheFile]:
    """Removes what was not used for some days, and returns it.

    Args:
        workspace: in which nothing runs.
        days: 0 removes everything.
    """
    old = [file for file in cache_files(workspace) if file.unused_days >= days]
    for file in old:
        file.path.unlink(missing_ok=True)
    return old
