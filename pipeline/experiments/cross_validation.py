"""Trains every arm on every fold."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from knet.base.digests import code_digest, file_digest, text_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.data.catalog import read_catalog
from knet.models.callbacks import TrainingProgress
from knet.models.fine_tuning import divide_model
from knet.models.settings import BackboneName
from knet.runs.record import Data
from knet.runs.workspace import Workspace
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import prepare_devices, start_from_seed
from knet.training.feature_cache import cache_split
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.preflight import check_weights, fetch_weights, prepare_data, schema_file
from pipeline.runners.console import NodeDisplay
from pipeline.runners.local import run_down_to

_BACKBONE: BackboneName = "mobilenet"


def cross_validate(
    arms: Sequence[Variant], overrides: Sequence[str], *, console: Console
) -> tuple[Data, list[FoldTestSet]]:
    """Ingests and transforms the images of each fold by the graph, and trains every arm on them.

    What was trained before on the same data with the same settings and code is not trained again.

    Args:
        arms: that are compared.
        overrides: of `results.yaml`, for all arms.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable.
    """
    settings = load_config(SETTINGS, overrides)
    folds = range(settings.data.split.folds or 0)
    check_weights(settings)
    fetch_weights(settings)
    splits: dict[tuple[int, int], FoldSplits] = {}
    outcomes: dict[int, dict[str, FoldResult]] = {fold: {} for fold in folds}
    for arm in arms:
        configs = {
            fold: load_config(SETTINGS, [*overrides, *arm.overrides, f"data.split.fold={fold}"])
            for fold in folds
        }
        for fold, config in configs.items():
            if (fold, config.image.size) not in splits:
                console.print(f"images of fold {fold + 1} of {len(folds)} at {config.image.size} px")
                data, splits[fold, config.image.size] = transform_fold(config, console=console)
        with NodeDisplay(console, [_title(arm, fold) for fold in folds]) as display:
            for fold, config in configs.items():
                candidate = candidate_from_config(config, _BACKBONE, synthetic_data=data.synthetic)
                display.started(_title(arm, fold))
                outcomes[fold][arm.name], state = _outcome(
                    arm, candidate, splits[fold, config.image.size], Workspace(config.output), fold=fold
                )
                display.ended(_title(arm, fold), state)
    return data, [_tested(splits[fold, settings.image.size], outcomes[fold]) for fold in folds]


def _title(arm: Variant, fold: int) -> str:
    return f"{arm.name}, fold {fold + 1}"


def _outcome(
    arm: Variant, candidate: Candidate, splits: FoldSplits, workspace: Workspace, *, fold: int
) -> tuple[FoldResult, str]:
    """Trains an arm on a fold, unless that was done before; and says which."""
    weights = candidate.settings.weights_file
    key = text_digest(
        candidate.model_dump_json(),
        file_digest(weights) if weights else candidate.settings.weights,
        json.dumps(arm.learning_rates),
        *(split.digest for split in (splits.train, splits.validation, splits.test)),
        code_digest("pipeline.experiments.cross_validation"),
        code_digest("pipeline.experiments.cross_validation"),
    )
    file = workspace.root / "outcomes" / f"{arm.name}-fold-{fold + 1}-{key[:16]}.json"
    if file.is_file():
        return read_fold_result(file), "cached"
    if arm.learning_rates:
        outcome = train_variant(
            candidate, splits, learning_rates=arm.learning_rates, cache_root=workspace.feature_maps
        )
    else:
        outcome = probe_arm(candidate, splits, cache_root=workspace.feature_maps)
    outcome.write(file)
    return outcome, "done"


def _tested(splits: FoldSplits, outcomes: dict[str, FoldResult]) -> FoldTestSet:
    labels = [label for _, batch in splits.test.batches(batch_size=32) for label in batch.numpy().tolist()]
    return FoldTestSet(tuple(splits.test.paths()), tuple(labels), outcomes)


SETTINGS = Path(__file__).with_name("results.yaml")


@dataclass(frozen=True)
class Variant:
    """One way to train, as overrides of `results.yaml`."""

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    # Of which the validation patients of a fold choose; none fits a linear probe to the frozen features.
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03)


_SMALL = "image.size=64"  # where every block learns, 224 px would take hours on two cores
_ALL_BLOCKS = "training.fine_tune=all", "training.blocks=null"

PROBE = Variant("probe", "linear probe on the frozen features", learning_rates=())
VARIANTS = (
    Variant("parallel", "hybrid: CNN branch beside LSTM"),
    Variant("none", "none: the CNN branch alone", ("head.variant=none",)),
    PROBE,
    Variant("serial", "serial: the LSTM alone", ("head.variant=serial",)),
    Variant("parallel-64", "hybrid at 64 px", (_SMALL,)),
    Variant(
        "imagenet-64",
        "hybrid at 64 px, all blocks learn from ImageNet weights",
        (_SMALL, *_ALL_BLOCKS),
        learning_rates=(0.003, 0.01),
    ),
    Variant(
        "scratch-64",
        "hybrid at 64 px, all blocks learn from random weights",
        (_SMALL, "candidates.mobilenet.weights=none", *_ALL_BLOCKS),
        learning_rates=(0.01, 0.03),
    ),
)


@dataclass(frozen=True)
class FoldSplits:
    """Three sets of images with no patient in common."""

    train: TransformedSplit
    validation: TransformedSplit
    test: TransformedSplit


C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_AT_ONCE = 32

Labelled = tuple[np.ndarray, np.ndarray]  # vectors [images, channels], labels [images]


def probe_arm(candidate: Candidate, splits: FoldSplits, *, cache_root: Path) -> FoldResult:
    """Fits the probe to the averages of the feature maps of a candidate's frozen backbone.

    Args:
        candidate: whose backbone it is.
        splits: of the fold; the probe sees the same copies of the training images as the candidate.
        cache_root: the folder for feature maps.
    """
    start_from_seed(candidate.seed)
    model = candidate.model(pixel_statistics=splits.train.pixel_statistics())
    frozen, _ = divide_model(model, candidate.name, upper_blocks=0)

    def averages(split: TransformedSplit) -> Labelled:
        maps = cache_split(split, frozen, root=cache_root, batch_size=_AT_ONCE)
        pairs = [
            (batch.astype("float32").mean(axis=(1, 2)), labels)
            for batch, labels in maps.batches(batch_size=_AT_ONCE).as_numpy_iterator()
        ]
        vectors, labels = zip(*pairs, strict=True)
        return np.concatenate(vectors), np.concatenate(labels)

    return linear_probe(
        train=averages(splits.train), validation=averages(splits.validation), test=averages(splits.test)[0]
    )


def linear_probe(
    *, train: Labelled, validation: Labelled, test: np.ndarray, c_grid: Sequence[float] = C_GRID
) -> FoldResult:
    """Fits a logistic regression for each C on the training images; both classes weigh alike.

    Args:
        train: to fit scaling and regression to.
        validation: the C with the lowest log loss here is taken.
        test: vectors [images, channels].
        c_grid: inverse strengths of the L2 penalty.
    """
    start = time.monotonic()
    models = {
        c: make_pipeline(
            StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000)
        ).fit(*train)
        for c in c_grid
    }
    vectors, labels = validation
    losses = {c: float(log_loss(labels, model.predict_proba(vectors))) for c, model in models.items()}
    best = min(losses, key=lambda c: losses[c])
    return FoldResult(
        chosen={"C": best},
        trials=tuple({"C": c, "val_loss": loss} for c, loss in losses.items()),
        scores=tuple(map(float, models[best].predict_proba(test)[:, 1])),
        seconds=time.monotonic() - start,
        device="CPU",
    )


@dataclass(frozen=True)
class FoldResult:
    """What validation patients chose, and what that says of the test images."""

    chosen: dict[str, float]  # learning_rate and best_epoch (from 1), or C
    trials: tuple[dict[str, float], ...]  # that it was chosen from, each with its val_loss
    scores: tuple[float, ...]  # of the test images, in their order: the probability of the second class
    seconds: float
    device: str

    def write(self, file: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        atomic_write(file, json.dumps(asdict(self)))


def read_fold_result(file: Path) -> FoldResult:
    """Reads it back."""
    tree = json.loads(file.read_text(encoding="utf-8"))
    return FoldResult(**{**tree, "trials": tuple(tree["trials"]), "scores": tuple(tree["scores"])})


@dataclass(frozen=True)
class FoldTestSet:
    """One fold: its test images, in their order, and what every arm says of them."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    outcomes: dict[str, FoldResult]  # by arm


def train_variant(
    candidate: Candidate, splits: FoldSplits, *, learning_rates: Sequence[float], cache_root: Path
) -> FoldResult:
    """Trains once for each learning rate, with early stopping, and keeps the best on validation patients.

    Test images are looked at once, by the model that was chosen, from pixels to probability.

    Args:
        candidate: what is trained.
        splits: of the fold.
        learning_rates: to try.
        cache_root: the folder for feature maps.
    """
    start = time.monotonic()
    start_from_seed(candidate.seed)
    learner = TrainingSetup(
        candidate,
        devices=prepare_devices(candidate.devices),
        train=splits.train,
        validation=splits.validation,
        cache_root=cache_root,
    )
    trials: list[dict[str, float]] = []
    chosen: list[np.ndarray] = []
    for rate in learning_rates:
        trial, model = _train(learner, rate)
        trials.append(trial)
        if trial is min(trials, key=lambda one: one["val_loss"]):
            chosen = model.get_weights()
    best = min(trials, key=lambda one: one["val_loss"])
    if not math.isfinite(best["val_loss"]):
        raise UserError(
            f"training {candidate.name}: the loss is not finite with any learning rate of {learning_rates}; "
            "lower them"
        )
    model.set_weights(chosen)
    scores = model.predict(splits.test.batches(batch_size=_AT_ONCE), verbose=0)[:, 1]
    return FoldResult(
        chosen={name: best[name] for name in ("learning_rate", "best_epoch")},
        trials=tuple(trials),
        scores=tuple(map(float, scores)),
        seconds=time.monotonic() - start,
        device=learner.devices.description,
    )


def _train(learner: TrainingSetup, learning_rate: float) -> tuple[dict[str, float], keras.Model]:
    """How one training ended, and the whole model with the weights of its best epoch."""
    candidate = learner.candidate
    start_from_seed(candidate.seed)
    learning, model = learner.build(learning_rate=learning_rate, momentum=candidate.training.momentum)
    stopping = candidate.early_stopping()
    history = learning.fit(
        **fit_arguments(candidate, learner.train, learner.validation, replicas=learner.devices.replicas),
        callbacks=[keras.callbacks.TerminateOnNaN(), stopping, TrainingProgress()],
    )
    losses = history.history["val_loss"]
    trial = {
        "learning_rate": learning_rate,
        "epochs": len(losses),
        "best_epoch": stopping.best_epoch + 1,
        "val_loss": min(losses) if np.isfinite(losses).all() else math.inf,
    }
    return trial, model


def transform_fold(config: Config, *, console: Console) -> tuple[Data, FoldSplits]:
    """Runs the graph as far as Transform; a second time it is answered from the cache.

    Args:
        config: with the fold to test in `data.split`.
        console: shows each node.

    Raises:
        UserError: the data are not usable.
    """
    data = prepare_data(config)
    schema = schema_file(config, data, Workspace(config.output.resolve()))
    executions = run_down_to(["Transform"], config, data, schema=schema, console=console)
    folder = executions["Transform"].outputs["transformed_examples"].uri

    def split(name: str, copies: tuple[str, ...] = ("original",)) -> TransformedSplit:
        return TransformedSplit([str(folder / f"Split-{name}" / "*")], size=config.image.size, copies=copies)

    return data, FoldSplits(
        train=split("train", config.training.augmentation),
        validation=split("validation"),
        test=split("test"),
    )


def patient_by_image(config: Config, data: Data) -> dict[str, str]:
    """The patient of each image, by path."""
    catalog = read_catalog(data.source, root=data.root, classes=config.data.classes)
    return {image.path: image.patient for image in catalog.images}
