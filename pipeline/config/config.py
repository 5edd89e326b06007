"""Root of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from pipeline.config.beam import BeamConfig
from pipeline.config.candidates import CandidateConfig, HeadConfig, ImageConfig
from pipeline.config.data import DataConfig, DataGateConfig
from pipeline.config.evaluation import (
    CalibrationConfig,
    GateConfig,
    OodConfig,
    ReportConfig,
    SelectionConfig,
)
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.metadata import MetadataConfig
from pipeline.config.names import PAPER_BACKBONES, BackboneName
from pipeline.config.section import Section
from pipeline.config.training import DevicesConfig, TrainingConfig
from pipeline.config.tuning import TuningConfig


class Config(Section):
    """The whole configuration.

    Example:
        load_config("paper", ["training.epochs=75", "candidates.vgg16.weights=none"])
    """

    name: str = Field(
        "knet", pattern=r"^[a-z][a-z0-9-]{0,40}$", description="Name of the pipeline and of its runs."
    )
    seed: int = Field(
        0, ge=0, lt=2**31, description="Seed of splits, initial weights, order and augmentation."
    )
    output: Path = Field(Path("runs/knet"), description="Folder that a run writes everything to.")
    metadata: MetadataConfig | None = None
    data: DataConfig = DataConfig()
    data_gate: DataGateConfig = DataGateConfig()
    image: ImageConfig = ImageConfig()
    candidates: dict[BackboneName, CandidateConfig] = Field(
        {name: CandidateConfig() for name in PAPER_BACKBONES},
        min_length=1,
        description="Models to compare, by backbone.",
    )
    head: HeadConfig = HeadConfig()
    training: TrainingConfig = TrainingConfig()
    devices: DevicesConfig = DevicesConfig()
    tuning: TuningConfig | None = TuningConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    ood: OodConfig = OodConfig()
    selection: SelectionConfig = SelectionConfig()
    gate: GateConfig = GateConfig()
    report: ReportConfig = ReportConfig()
    beam: BeamConfig = BeamConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        shared = self.tuning and self.tuning.scope == "shared"
        if self.tuning and shared and self.tuning.backbone not in self.candidates:
            raise ValueError(f"tuning.backbone is {self.tuning.backbone}, which is not among the candidates")
        winner = self.selection.force_winner
        if winner and winner not in self.candidates:
            raise ValueError(f"selection.force_winner is {winner}, which is not among the candidates")
        if self.tuning and self.tuning.blocks and self.training.fine_tune != "blocks":
            raise ValueError(
                f"tuning.blocks needs training.fine_tune=blocks, not {self.training.fine_tune}, which has no "
                "fixed number of blocks"
            )
        if self.tuning and self.tuning.lstm_units and self.head.variant == "none":
            raise ValueError("tuning.lstm_units: with head.variant=none there is no LSTM")
        for name, candidate in self.candidates.items():
            if candidate.alpha is not None and name != "mobilenet":
                raise ValueError(f"candidates.{name}.alpha: only mobilenet has a width multiplier")
        return self

    def with_slices(self, columns: Sequence[str]) -> Config:
        """Return the configuration with `data.slices` set to these columns if it is null."""
        if self.data.slices is not None:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"slices": tuple(columns)})})

    @property
    def split_settings(self) -> dict[str, Any]:
        """Arguments of `make_split` as JSON can hold them; `data.slices` must be set (`with_slices`)."""
        assert self.data.slices is not None
        data = self.data.model_dump(mode="json", include={"classes", "slices"})
        return {**data, "seed": self.seed, **self.data.split.model_dump(mode="json")}
