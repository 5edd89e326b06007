"""Root of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from knet.base import node_ids
from knet.base.settings import LocalPath, Section
from knet.data.settings import DataConfig, DataGateConfig
from knet.evaluation.settings import GateConfig, ReportConfig, SelectionConfig
from knet.models.settings import (
    PAPER_BACKBONES,
    BackboneName,
    CalibrationConfig,
    CandidateConfig,
    HeadConfig,
    ImageConfig,
    OodConfig,
)
from knet.training.settings import DevicesConfig, TrainingConfig
from knet.tuning.settings import TuningConfig
from pipeline.config.kubeflow import KubeflowConfig


class BeamConfig(Section):
    """Apache Beam, which the data components and the Evaluator run on."""

    workers: int = Field(
        2,
        ge=1,
        description="Worker processes of the local runner; each takes some seconds to start.",
        json_schema_extra={"unit": "processes"},
    )
    args: tuple[str, ...] = Field(
        (),
        description="Further Beam pipeline options, such as --runner=FlinkRunner; a --runner among them "
        "replaces the options of the local runner.",
    )

    @field_validator("args")
    @classmethod
    def _no_setup_file(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        if any(arg.startswith("--setup_file") for arg in args):
            raise ValueError(
                "--setup_file ships one distribution and workers need two: run make wheels, "
                "and name each wheel in dist/ with --extra_package"
            )
        return args

    @property
    def remote(self) -> bool:
        """Whether workers run on other machines."""
        runners = [arg for arg in self.args if arg.startswith("--runner")]
        return any(not runner.endswith(("DirectRunner", "FnApiRunner")) for runner in runners)


class MetadataConfig(Section):
    """MLMD database on a MySQL or MariaDB server, for concurrent runs; null: a SQLite file below `output`."""

    host: str = Field(min_length=1, description="Host name or address of the server.")
    port: int = Field(3306, ge=1, le=65535, description="TCP port of the server.")
    database: str = Field(
        "knet",
        pattern=r"^[A-Za-z0-9_]{1,64}$",
        description="Name of the database, which must exist; MLMD creates the tables.",
    )
    user: str = Field("knet", min_length=1, description="User of the database.")
    password_variable: str = Field(
        "KNET_METADATA_PASSWORD",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the password, which is never written anywhere.",
    )


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
    output: LocalPath = Field(Path("runs/knet"), description="Folder that a run writes everything to.")
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

    @field_validator("candidates", mode="before")
    @classmethod
    def _name_alone(cls, candidates: Any) -> Any:
        """Return the candidates with the defaults of those that only their name stands for."""
        if isinstance(candidates, list):
            return {str(name): {} for name in candidates}
        if not isinstance(candidates, dict):
            return candidates
        return {name: {} if settings is None else settings for name, settings in candidates.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        shared = self.tuning and self.tuning.scope == "shared"
        if self.tuning and shared and self.tuning.backbone not in self.candidates:
            raise ValueError(
                f"tuning.backbone is {self.tuning.backbone}, which is not among the candidates; set "
                f"tuning.backbone={next(iter(self.candidates))}, or tuning=null"
            )
        winner = self.selection.force_winner
        if winner and winner not in self.candidates:
            raise ValueError(
                f"selection.force_winner is {winner}, which is not among the candidates; name one of "
                f"{', '.join(self.candidates)}"
            )
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

    @property
    def searched_backbones(self) -> list[BackboneName]:
        """The backbones that a hyperparameter search runs on."""
        if self.tuning is None:
            return []
        return list(self.candidates) if self.tuning.scope == "backbone" else [self.tuning.backbone]

    def tuner_id(self, backbone: str) -> str:
        """Return the node id of the search on a backbone."""
        per_backbone = self.tuning is not None and self.tuning.scope == "backbone"
        return node_ids.tuner(backbone) if per_backbone else node_ids.TUNER
