"""Where a configuration's runs keep their things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import features


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
        return self.root / "serving" / features.MODEL_NAME

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
