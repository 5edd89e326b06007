"""The workspace: folders and files of a configuration's runs below `output`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from knet.base import schema_names
from knet.base.errors import UserError


@dataclass(frozen=True)
class Workspace:
    """The folders and files below a configuration's `output`."""

    root: Path

    @classmethod
    def of_served(cls, served: Path) -> Workspace:
        """The workspace whose `served` is that folder.

        Raises:
            UserError: the folder is not one of a workspace.
        """
        workspace = cls(served.resolve().parent.parent)
        if workspace.served != served.resolve() or not workspace.registry.is_dir():
            raise UserError(
                f"{served} is not a folder of versions in a run's output, <output>/serving/"
                f"{schema_names.MODEL_NAME} beside <output>/registry: give that one, or --config of the run"
            )
        return workspace

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
    def schemas(self) -> Path:
        """Schemas derived from the columns of manifests, named by their content."""
        return self.root / "schemas"

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
        """Cached explanations of winners, a file each."""
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
