"""The typed configuration tree: every field, its unit and its allowed range.

Defaults are the paper's values (Dsouza & Ansari, 2022). `load_config` reads a preset or a YAML file.
"""

from __future__ import annotations

import types
import typing
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UserError

PRESETS = ("demo", "paper", "production")

BackboneName = Literal["mobilenet", "vgg16", "resnet50", "resnet101", "resnet152", "efficientnetv2b0"]
# The paper's, which are compared unless a configuration says otherwise.
PAPER_BACKBONES: tuple[BackboneName, ...] = ("mobilenet", "vgg16", "resnet50", "resnet101", "resnet152")
# Names of pipeline.evaluation.patient_sample.METRICS that are better when larger.
MetricName = Literal[
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "pr_auc",
    "precision",
    "recall",
    "specificity",
    "f1",
    "patient_recognition_rate",
    "patient_decision_accuracy",
]
FixedCopy = Literal["original", "flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"]
Share = Annotated[float, Field(gt=0, lt=1)]
ClassName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


class _Section(BaseModel):
    """A part of the tree: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleConfig(_Section):
    """The embedded synthetic images, used when no source is given."""

    patients: int = Field(24, ge=12, le=200)
    images_per_magnification: int = Field(1, ge=1, le=20)


class SplitConfig(_Section):
    """How patients are divided into train, validation and test."""

    test_share: Share = 0.10  # of all patients, class by class
    validation_share: Share = 0.20  # of the patients that are not for test
    folds: int | None = Field(None, ge=2, le=20)  # k-fold cross-validation instead of test_share
    fold: int | None = Field(None, ge=0)  # the one for test, from 0
    file: Path | None = None  # the split of an earlier run, or an official fold (dsfold1.txt), instead

    @model_validator(mode="after")
    def _one_way(self) -> SplitConfig:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds and fold go together, such as folds=5 and fold=0")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is beyond the {self.folds} folds, which count from 0")
        if self.file is not None and self.folds is not None:
            raise ValueError("give either folds and fold, or a file")
        return self


class DataConfig(_Section):
    """Where the images are, what they are, and how patients are divided."""

    # BreaKHis as a folder, .zip, .tar or .tar.gz, or a .csv manifest of any other images; none means the
    # synthetic sample data
    source: Path | None = None
    root: Path | None = None  # folder or archive that a manifest's paths are in; none means the manifest's
    sample: SampleConfig = SampleConfig()
    classes: tuple[ClassName, ClassName] = ("benign", "malignant")  # the second is the positive one
    slices: tuple[str, ...] = ("magnification", "subtype")  # columns by which the models are judged too
    schema_file: Path | None = None  # none means the bundled one for BreaKHis or for manifests
    max_bad_share: float = Field(0.0, ge=0, lt=1)  # of unusable images above which a run fails
    allow_leaks: bool = False  # go on where the same pixels are in several splits, under several patients
    split: SplitConfig = SplitConfig()
    keep_duplicate_slides: bool = (
        False  # slide 14-13412 stands under two subtypes; by default one copy is kept
    )

    @model_validator(mode="after")
    def _two_classes(self) -> DataConfig:
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes: both are {self.classes[0]}")
        return self


class DataGateConfig(_Section):
    """What the data must stand up to beside the schema."""

    # fail when the training images drifted since the last successful run; the schema says how far they may
    drift: bool = False


class ImageConfig(_Section):
    """What Transform makes of an image."""

    size: int = Field(227, ge=32, le=1024)  # pixels per side, bilinear
    # image: per-image global contrast normalisation; backbone: the scaling its ImageNet weights were trained
    # with; dataset: mean and deviation of the training images
    normalisation: Literal["image", "backbone", "dataset"] = "image"
    # before it, in the model: every image gets the stains of the training images
    stain_normalisation: Literal["none", "macenko", "reinhard"] = "none"


class CandidateConfig(_Section):
    """One backbone of the comparison."""

    weights: str = (
        "imagenet"  # imagenet (downloaded by Keras once), none, or the path of a no-top weights file
    )
    alpha: float | None = Field(None, gt=0, le=2)  # width multiplier, MobileNet only
    # alpha_j of the paper's eq (3), 1 where not named, by block: head, and those in docs/fine-tuning.md
    block_rates: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}

    @property
    def weights_file(self) -> Path | None:
        """The file, where `weights` is the path of one."""
        return None if self.weights in ("imagenet", "none") else Path(self.weights)


class HeadConfig(_Section):
    """What stands on the backbone: a CNN branch beside an LSTM branch, concatenated and classified."""

    # parallel: both branches; serial: the LSTM alone; none: the CNN branch alone
    variant: Literal["parallel", "serial", "none"] = "parallel"
    lstm_units: int = Field(128, ge=1)
    dense_units: int = Field(256, ge=1)  # of each of the two fully connected layers
    dropout: float = Field(0.5, ge=0, lt=1)


class RandomAugmentationConfig(_Section):
    """What is changed about every training image anew in every epoch; by default nothing."""

    turn: bool = False  # by 0, 90, 180 or 270 degrees
    stain: float = Field(0.0, ge=0, le=0.5)  # of haematoxylin and eosin; 0.05 is light, 0.2 strong
    colour: float = Field(0.0, ge=0, le=0.5)  # of brightness, contrast and saturation, as a share

    @property
    def changes(self) -> bool:
        """Whether there is any."""
        return bool(self.turn or self.stain or self.colour)


class TrainingConfig(_Section):
    """How a candidate is trained."""

    epochs: int = Field(200, ge=1)  # at most; early stopping usually ends sooner
    # what early stopping looks at; the weights of its best epoch are kept
    early_stopping_monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    early_stopping_patience: int = Field(10, ge=1)  # epochs in which it did not get better
    batch_size: int = Field(500, ge=1)  # images of one update
    micro_batch: int | None = Field(20, ge=1)  # of them on a device at once; none means all
    learning_rate: float = Field(0.001, gt=0, le=10)  # used where tuning is off
    momentum: float = Field(0.9, ge=0, lt=1)  # likewise
    learning_rate_decay: float = Field(0.95, gt=0, le=1)  # per epoch, the paper's eq (2)
    # all: every block learns; blocks: the topmost ones; staged: the head alone at first, then one block more
    # in every stage, from the top downwards (docs/fine-tuning.md)
    fine_tune: Literal["all", "blocks", "staged"] = "staged"
    blocks: int | None = Field(None, ge=0)  # how many, with fine_tune blocks; 0 trains the head alone
    stage_epochs: int = Field(1, ge=1)  # with fine_tune staged
    class_weights: Literal["none", "balanced"] = "none"  # balanced: both classes weigh alike
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of a label that is spread over both classes
    batch_norm_momentum: float = Field(0.99, gt=0, lt=1)  # lower for few steps from scratch
    # The copies of each training image, which are the same in every epoch.
    augmentation: tuple[FixedCopy, ...] = Field(
        ("original", "flip_horizontal", "flip_vertical"), min_length=1
    )
    random_augmentation: RandomAugmentationConfig = RandomAugmentationConfig()
    # auto: what the frozen blocks make of the images is kept and not computed again, where fine_tune is
    # blocks and random_augmentation changes nothing; true insists on it; false never does
    feature_cache: Literal["auto"] | bool = "auto"

    @model_validator(mode="after")
    def _cache_of_what_stays(self) -> TrainingConfig:
        if self.feature_cache is True and self.random_augmentation.changes:
            raise ValueError(
                "feature_cache=true and random_augmentation exclude each other: the cache holds one feature "
                "map of each copy of an image, which random changes would alter in every epoch; set "
                "feature_cache=auto, or random_augmentation={}"
            )
        if self.feature_cache is True and self.fine_tune != "blocks":
            raise ValueError(
                f"feature_cache=true needs fine_tune=blocks: with fine_tune={self.fine_tune} no block stays "
                "frozen, so no feature map stays as it is"
            )
        return self

    @model_validator(mode="after")
    def _blocks_where_they_count(self) -> TrainingConfig:
        if (self.fine_tune == "blocks") != (self.blocks is not None):
            raise ValueError("fine_tune=blocks and blocks go together, such as fine_tune=blocks and blocks=2")
        return self


class DevicesConfig(_Section):
    """How the devices compute that a candidate is trained on: all visible GPUs, or else the CPU."""

    # auto: mixed_bfloat16 or mixed_float16 on GPUs with tensor cores for them, else float32
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    xla: Literal["auto"] | bool = "auto"  # auto: on one GPU with tensor cores, unless deterministic
    deterministic: bool = False  # GPUs too give the same weights for the same seed, slower; a CPU always does


class RangeConfig(_Section):
    """An interval to search."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        return self


class LearningRateRange(RangeConfig):
    """Learning rates, searched on a log scale."""

    low: float = Field(1e-4, gt=0)
    high: float = Field(1e-1, le=10)


class MomentumRange(RangeConfig):
    """Momenta, searched on a linear scale."""

    low: float = Field(0.5, ge=0)
    high: float = Field(0.99, lt=1)


class TuningConfig(_Section):
    """The search for learning rate and momentum; its result serves every candidate."""

    backbone: BackboneName = "mobilenet"  # the one that is searched with; must be a candidate
    trials: int = Field(10, ge=1)
    epochs: int = Field(10, ge=1)  # per trial
    learning_rate: LearningRateRange = LearningRateRange()
    momentum: MomentumRange = MomentumRange()


class CalibrationConfig(_Section):
    """What is fitted on validation images between a model's logits and its answer."""

    temperature: bool = True  # by which the logits are divided; false leaves the probabilities as they are
    # the probability from which an image is called positive. youden: sensitivity + specificity is largest;
    # sensitivity: the highest that reaches target_sensitivity; a number: that
    threshold: Literal["youden", "sensitivity"] | Share = "youden"
    target_sensitivity: float = Field(0.95, gt=0, le=1)


class OodConfig(_Section):
    """Which images a served model does not vouch for: out of distribution, blurred, without tissue."""

    false_reject_rate: float = Field(0.05, ge=0, lt=1)  # share of validation images that may be among them


class SelectionConfig(_Section):
    """How the winner is chosen, on validation patients only."""

    metric: MetricName = "balanced_accuracy"
    # candidates this close to the best, and not shown to be worse by a paired bootstrap, are as good: the
    # smallest of them wins
    tie: float = Field(0.01, ge=0, le=1)
    pin: BackboneName | None = None  # the winner, whatever the metric says


class GateConfig(_Section):
    """What the winner must reach on test patients to be pushed."""

    # the least value of each metric; empty asks for none
    minimum: dict[MetricName, Annotated[float, Field(ge=0, le=1)]] = {
        "balanced_accuracy": 0.75,
        "recall": 0.85,
    }
    # how much worse than the model in production the winner may be, at worst: the lower end of the 95 %
    # interval of the paired difference, on the test patients of both; none compares with nothing
    margin: float | None = Field(0.05, ge=0, le=1)
    metric: MetricName = "patient_recognition_rate"  # that is compared
    patients: int = Field(2, ge=1)  # test patients of each class, below which figures show nothing
    insufficient: Literal["pass", "refuse"] = "refuse"  # what becomes of the winner then


class ReportConfig(_Section):
    """What the report shows beside figures."""

    # test images of each kind (most certain, most wrong, most uncertain) with the winner's heat maps
    explanations: int = Field(3, ge=0, le=20)


class BeamConfig(_Section):
    """How Beam runs inside the components."""

    workers: int = Field(2, ge=1)  # processes on this machine; each takes some seconds to start
    args: tuple[str, ...] = ()  # further Beam flags; with a --runner among them, they replace the local ones


_KUBERNETES_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


class TolerationConfig(_Section):
    """A taint of nodes that a pod may run on all the same."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None  # with Equal
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None  # none means every one


class ResourcesConfig(_Section):
    """What a node of the graph gets of the cluster."""

    cpu: float = Field(2, gt=0)  # cores, at most
    memory_gb: float = Field(8, gt=0)  # at most
    gpus: int = Field(0, ge=0)
    gpu_type: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"] = "nvidia.com/gpu"
    node_selector: dict[str, str] = {}  # labels that the machine must have
    tolerations: tuple[TolerationConfig, ...] = ()
    shared_memory_gb: float = Field(0, ge=0)  # of the memory, as /dev/shm


class VolumeConfig(_Section):
    """A PersistentVolumeClaim that every node sees."""

    claim: str = Field(pattern=_KUBERNETES_NAME)
    mount_path: str = Field(pattern="^/")


class SecretConfig(_Section):
    """A Kubernetes secret whose keys become environment variables of every node."""

    name: str = Field(pattern=_KUBERNETES_NAME)
    env: dict[str, str] = Field(min_length=1)  # variable by key


class KubeflowConfig(_Section):
    """Where the compiled graph runs."""

    image: str = "breakhis-knet:latest"
    pipeline_root: str = Field("minio://mlpipeline/knet", pattern=r"^(minio|s3|gs)://[^/]+")
    data_source: str = "/data/BreaKHis_v1"  # as the containers see it; a parameter of a run
    data_root: str = ""  # likewise, where the source is a manifest
    schema_file: str = "/app/schemas/breakhis.pbtxt"  # likewise
    # likewise, and writable: a folder that outlives a container, or a killed training begins anew
    checkpoints: str = "/data/checkpoints"
    cache_root: str = "/cache/feature-maps"  # likewise; on a volume, or every training computes its own
    baseline: str = ""  # likewise: predictions (Parquet) of the model in production, for gate.margin
    push_folder: str = "/models/knet"  # likewise; TF Serving's model base path, on a volume
    volumes: tuple[VolumeConfig, ...] = ()
    secrets: tuple[SecretConfig, ...] = ()
    env: dict[str, str] = {}  # of every node
    retries: int = Field(1, ge=0)  # of a node that fails
    # by node, such as Trainer-resnet152, or by the first word of its name, such as Trainer
    resources: dict[str, ResourcesConfig] = {}

    def resources_of(self, node: str) -> ResourcesConfig:
        """Those of a node: its own, else its kind's, else the default ones."""
        kind = node.partition("-")[0]
        return self.resources.get(node) or self.resources.get(kind) or ResourcesConfig()


class Config(_Section):
    """The whole experiment.

    Example:
        load_config("paper", ["training.epochs=75", "candidates.vgg16.weights=none"])
    """

    name: str = Field("knet", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    seed: int = Field(0, ge=0, lt=2**31)
    output: Path = Path("runs/knet")  # everything a run writes
    data: DataConfig = DataConfig()
    data_gate: DataGateConfig = DataGateConfig()
    image: ImageConfig = ImageConfig()
    candidates: dict[BackboneName, CandidateConfig] = Field(
        {name: CandidateConfig() for name in PAPER_BACKBONES}, min_length=1
    )
    head: HeadConfig = HeadConfig()
    training: TrainingConfig = TrainingConfig()
    devices: DevicesConfig = DevicesConfig()
    tuning: TuningConfig | None = TuningConfig()  # none trains with the values of `training`
    calibration: CalibrationConfig = CalibrationConfig()
    ood: OodConfig = OodConfig()
    selection: SelectionConfig = SelectionConfig()
    gate: GateConfig = GateConfig()
    report: ReportConfig = ReportConfig()
    beam: BeamConfig = BeamConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.tuning and self.tuning.backbone not in self.candidates:
            raise ValueError(f"tuning.backbone is {self.tuning.backbone}, which is not among the candidates")
        if self.selection.pin and self.selection.pin not in self.candidates:
            raise ValueError(f"selection.pin is {self.selection.pin}, which is not among the candidates")
        for name, candidate in self.candidates.items():
            if candidate.alpha is not None and name != "mobilenet":
                raise ValueError(f"candidates.{name}.alpha: only mobilenet has a width multiplier")
        return self

    @property
    def split_settings(self) -> dict[str, Any]:
        """All that decides who is in which split, as `make_split` takes it and JSON can hold it."""
        data = self.data.model_dump(mode="json", include={"classes", "slices"})
        return {**data, "seed": self.seed, **self.data.split.model_dump(mode="json")}


def load_config(source: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Reads a preset by name, or a YAML file, and applies `key.path=value` overrides.

    Raises:
        UserError: the file cannot be read, or a field is unknown or out of range; the text names the
            field's path and what is allowed.
    """
    tree = _read_yaml(source)
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(_explain(error, source)) from None


def dump_config(config: Config) -> str:
    """The configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(source: str | Path) -> dict[str, Any]:
    if source in PRESETS:
        text = (resources.files("pipeline") / "configs" / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"cannot read configuration {source}: {error.strerror}; name a YAML file or one of the "
                f"presets {', '.join(PRESETS)}"
            ) from None
        except UnicodeDecodeError:
            raise UserError(f"configuration {source} is not a text file in UTF-8") from None
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"configuration {source} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(
            f"configuration {source} must hold fields (`name: value`), not a {type(tree).__name__}"
        )
    return tree


def _apply_override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override}: write it as key.path=value, such as training.epochs=75")
    *parents, last = path.split(".")
    for name in parents:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value is not valid YAML") from None


def _explain(error: ValidationError, source: str | Path) -> str:
    lines = [f"configuration {source}:"]
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(_fields_at(problem["loc"][:-1]))
            lines.append(f"  {path}: no such field; allowed here: {allowed}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # Our own rules say themselves what they were given.
            given = "" if problem["type"] == "value_error" else f", not {problem['input']!r}"
            lines.append(f"  {path}: {message}{given}" if path else f"  {message}")
    return "\n".join(lines)


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The fields of the section at a path of the tree."""
    section: Any = Config
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
        else:  # a dict of sections: its values
            section = typing.get_args(section)[1]
        if isinstance(section, types.UnionType) or typing.get_origin(section) is typing.Union:
            section = next(a for a in typing.get_args(section) if a is not type(None))
    return sorted(section.model_fields)
