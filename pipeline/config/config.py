"""Root of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from knet.base import node_ids
from knet.base.settings import LocalPath, Section, describe_errors, merge
from knet.data.settings import DataConfig, DataGateConfig
from knet.evaluation.settings import MACRO_AREAS, GateConfig, ReportConfig, SelectionConfig, metric_problem
from knet.models.settings import (
    BACKBONE_NAMES,
    IMPORT_PATH,
    PAPER_BACKBONES,
    CalibrationConfig,
    CandidateConfig,
    CandidateName,
    HeadConfig,
    ImageConfig,
    OodConfig,
)
from knet.runs.settings import TrackingConfig
from knet.training.settings import DevicesConfig, TrainingConfig
from knet.tuning.settings import REPLACED, TuningConfig
from pipeline.config.kubeflow import KubeflowConfig

BeamComponent = Literal["BreakHisExampleGen", "StatisticsGen", "Transform", "Evaluator"]


class BeamConfig(Section):
    """Apache Beam, which the data components and the Evaluator run on."""

    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Worker processes of the local runner. 1: none, a worker in memory. auto: 2 where a "
        "stage reads enough to be worth the 3 to 8 seconds that they take to start, else 1 "
        "(docs/decisions/0002-beam.md); with another runner those that it has.",
        json_schema_extra={"unit": "processes"},
    )
    args: tuple[str, ...] = Field(
        (),
        description="Further Beam pipeline options, such as --runner=PortableRunner; a --runner among them "
        "replaces the options of the local runner.",
    )
    components: dict[BeamComponent, tuple[str, ...]] = Field(
        {},
        description="Further Beam pipeline options of one component, after those of args, such as "
        "{Transform: [--sdk_worker_parallelism=4]}.",
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _earlier_default(cls, workers: Any) -> Any:
        return "auto" if workers is None else workers  # null in configurations of earlier versions

    @field_validator("args")
    @classmethod
    def _no_setup_file(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        if any(arg.startswith("--setup_file") for arg in args):
            raise ValueError(
                "--setup_file ships one distribution and workers need two: run make wheels, "
                "and name each wheel in dist/ with --extra_package"
            )
        return args

    @model_validator(mode="after")
    def _one_runner(self) -> BeamConfig:
        if self.workers != "auto" and self.names_runner:
            raise ValueError(
                "workers: it is of the local runner, but beam.args names a runner; set beam.workers=auto"
            )
        for name, args in self.components.items():
            if any(arg.startswith("--runner") for arg in args) and not self.remote:
                raise ValueError(
                    f"components: {name} has a --runner, which would get the options of the local runner "
                    "too; name it in beam.args, for all components"
                )
        return self

    @property
    def names_runner(self) -> bool:
        """Whether `args` names a runner, which replaces the local one."""
        return any(arg.startswith("--runner") for arg in self.args)

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
    candidates: dict[CandidateName, CandidateConfig] = Field(
        {name: CandidateConfig() for name in PAPER_BACKBONES},
        min_length=1,
        description="Models to compare, by name; the name of a backbone alone stands for that backbone.",
        json_schema_extra={"additionalProperties": False},  # names that do not match the pattern
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
    tracking: TrackingConfig = TrackingConfig()
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
        self._check_metrics()
        winner = self.selection.force_winner
        if winner and winner not in self.candidates:
            raise ValueError(
                f"selection.force_winner is {winner}, which is not among the candidates; name one of "
                f"{', '.join(self.candidates)}"
            )
        for name, candidate in self.candidates.items():
            backbone = candidate.backbone or name
            if backbone not in BACKBONE_NAMES and not IMPORT_PATH.fullmatch(backbone):
                field = f"candidates.{name}.backbone" if candidate.backbone else f"candidates.{name}"
                raise ValueError(
                    f"{field}: {backbone} is no backbone; set candidates.{name}.backbone to one of "
                    f"{', '.join(BACKBONE_NAMES)}, or to an import path such as mypackage.nets:build"
                )
            if candidate.alpha is not None and backbone != "mobilenet":
                raise ValueError(f"candidates.{name}.alpha: only mobilenet has a width multiplier")
            self.for_candidate(name)  # its own settings are valid
        if self.tuning:
            self._check_tuning(self.tuning)
        return self

    def _check_metrics(self) -> None:
        named = {"selection.metric": self.selection_metric}
        if self.gate.margin is not None:
            named["gate.metric"] = self.gate.metric
        named |= {f"gate.minimum.{metric}": metric for metric in self.gate.minimum or {}}
        for field, metric in named.items():
            if problem := metric_problem(metric, **self._label_kind):
                raise ValueError(f"{field}: {problem}")

    @property
    def _label_kind(self) -> dict[str, Any]:
        return {"classes": len(self.data.classes), "group": self.data.positive is not None}

    @property
    def selection_metric(self) -> str:
        """Name of the metric that ranks the candidates, of this number of classes."""
        metric = self.selection.metric
        return metric if len(self.data.classes) == 2 else MACRO_AREAS.get(metric, metric)

    @property
    def gate_rules(self) -> dict[str, Any]:
        """Fields of `knet.evaluation.gate.Rules`, with the defaults of the number of classes."""
        return {**self.gate.rules(**self._label_kind), "split_unit": self.data.split.unit}

    def _check_tuning(self, tuning: TuningConfig) -> None:
        if tuning.scope == "shared" and tuning.candidate and tuning.candidate not in self.candidates:
            raise ValueError(
                f"tuning.candidate is {tuning.candidate}, which is not among the candidates; set "
                f"tuning.candidate={next(iter(self.candidates))}, or tuning=null"
            )
        optimizers = {self.for_candidate(name).training.optimizer for name in self.candidates}
        if tuning.scope == "shared" and len(optimizers) > 1:
            raise ValueError(
                "tuning.scope=shared: the candidates have several optimizers, whose learning rates differ; "
                "set tuning.scope=candidate, or the same training.optimizer for all"
            )
        if tuning.weight_decay and "adamw" not in optimizers:
            raise ValueError("tuning.weight_decay: SGD has none; set training.optimizer=adamw, or remove it")
        for name, candidate in self.candidates.items():
            own = self.for_candidate(name)
            if tuning.blocks and own.training.fine_tune != "blocks":
                raise ValueError(
                    f"tuning.blocks needs training.fine_tune=blocks, not {own.training.fine_tune} as of the "
                    f"candidate {name}, which has no fixed number of blocks"
                )
            if tuning.lstm_units and own.head.variant == "none":
                raise ValueError(
                    f"tuning.lstm_units: with head.variant=none, as of the candidate {name}, there is no LSTM"
                )
            for section in ("head", "training"):
                for field in getattr(candidate, section):
                    if field in tuning.replaced:
                        remedy = "" if field in REPLACED else "set tuning.scope=candidate, "
                        raise ValueError(
                            f"candidates.{name}.{section}.{field}: the search replaces it; remove it, "
                            f"{remedy}or set tuning=null"
                        )

    def for_candidate(self, name: str) -> Config:
        """Return the configuration with a candidate's own settings in `image`, `head` and `training`.

        Args:
            name: one of `candidates`.

        Raises:
            ValueError: one of its own settings is invalid; the message has a line for each.
        """
        candidate = self.candidates[name]
        changes: dict[str, Any] = {}
        for field in ("image", "head", "training"):
            if own := getattr(candidate, field):
                common = getattr(self, field)
                try:
                    changes[field] = type(common).model_validate(merge(common.model_dump(), own))
                except ValidationError as error:
                    path = f"candidates.{name}.{field}"
                    raise ValueError("\n  ".join(describe_errors(error, type(common), path=path))) from None
        return self.model_copy(update=changes)

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
        split = self.data.split.model_dump(mode="json", exclude={"allow_patient_leak"})
        return {**data, "seed": self.seed, **split}

    @property
    def searched_candidates(self) -> list[str]:
        """The candidates that a hyperparameter search runs on."""
        names = list(self.candidates)
        if self.tuning is None or self.tuning.scope == "candidate":
            return names if self.tuning else []
        return [self.tuning.candidate or names[0]]

    def tuner_id(self, candidate: str) -> str:
        """Return the node id of the search on a candidate."""
        per_candidate = self.tuning is not None and self.tuning.scope == "candidate"
        return node_ids.tuner(candidate) if per_candidate else node_ids.TUNER

    def transform_id(self, candidate: str) -> str:
        """Return the node id of the Transform whose images a candidate is trained on."""
        size = self.for_candidate(candidate).image.size
        return node_ids.TRANSFORM if size == self.image.size else node_ids.transform(size)
