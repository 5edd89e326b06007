"""Cross-validation of training variants over folds of patients."""

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

from knet.base import artifact_files, node_ids, schema_names
from knet.base.digests import code_digest, file_digest, text_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write, read_json
from knet.data.catalog import read_catalog
from knet.models.callbacks import TrainingProgress
from knet.models.fine_tuning import split_model
from knet.models.settings import OfflineAugmentation
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

SETTINGS = Path(__file__).with_name("results.yaml")
_CANDIDATE = "mobilenet"
_BATCH_SIZE = 32  # of inference


@dataclass(frozen=True)
class Variant:
    """Variant of a training, as overrides of `results.yaml`.

    Attributes:
        name: identifier in file names and results.
        title: text for tables.
        overrides: `key=value` each.
        learning_rates: candidates that the validation patients of a fold choose from; with none, a linear
            probe is fitted to the frozen features.
    """

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03)


_SMALL = "image.size=64"  # trainable backbones at 224 px would take hours on two cores
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
        "hybrid at 64 px, all blocks trainable, ImageNet weights",
        (_SMALL, *_ALL_BLOCKS),
        learning_rates=(0.003, 0.01),
    ),
    Variant(
        "scratch-64",
        "hybrid at 64 px, all blocks trainable, random weights",
        (_SMALL, "candidates.mobilenet.weights=none", *_ALL_BLOCKS),
        learning_rates=(0.01, 0.03),
    ),
)


@dataclass(frozen=True)
class FoldResult:
    """Result of a variant on one fold.

    Attributes:
        chosen: hyperparameters with the lowest validation loss: learning_rate and best_epoch (from 1), or C.
        trials: hyperparameters of each trial, with its val_loss.
        scores: probability of the second class for each test image, in the order of the test split.
        seconds: duration of the training, in seconds.
        device: description of the devices.
    """

    chosen: dict[str, float]
    trials: tuple[dict[str, float], ...]
    scores: tuple[float, ...]
    seconds: float
    device: str

    def write(self, file: Path) -> None:
        """Write the result as JSON, atomically."""
        atomic_write(file, json.dumps(asdict(self)))


def read_fold_result(file: Path) -> FoldResult:
    """Read a result that `FoldResult.write` wrote."""
    tree = read_json(file, remedy="delete it: the variant is trained on this fold again")
    return FoldResult(**{**tree, "trials": tuple(tree["trials"]), "scores": tuple(tree["scores"])})


@dataclass(frozen=True)
class FoldTestSet:
    """Test images of one fold, with the results of every variant.

    Attributes:
        paths: of the images, in the order of the test split.
        labels: class index of each image.
        results: by name of the variant.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    results: dict[str, FoldResult]


@dataclass(frozen=True)
class FoldSplits:
    """Splits of one fold, with no patient in common."""

    train: TransformedSplit
    validation: TransformedSplit
    test: TransformedSplit


def cross_validate(
    variants: Sequence[Variant], overrides: Sequence[str], *, console: Console
) -> tuple[Data, list[FoldTestSet]]:
    """Transform the images of each fold by the pipeline, and train every variant on them.

    Results of earlier runs with the same data, settings and code are reused.

    Args:
        variants: the variants to compare.
        overrides: `key=value` overrides of `results.yaml`, for all variants.
        console: shows every step.

    Returns:
        The data, and the test set of each fold.

    Raises:
        UserError: data or weights are not usable.
    """
    settings = load_config(SETTINGS, overrides)
    folds = range(settings.data.split.folds or 0)
    check_weights(settings)
    fetch_weights(settings)
    splits: dict[tuple[int, int], FoldSplits] = {}
    results: dict[int, dict[str, FoldResult]] = {fold: {} for fold in folds}
    for variant in variants:
        configs = {
            fold: load_config(SETTINGS, [*overrides, *variant.overrides, f"data.split.fold={fold}"])
            for fold in folds
        }
        for fold, config in configs.items():
            if (fold, config.image.size) not in splits:
                console.print(f"images of fold {fold + 1} of {len(folds)} at {config.image.size} px")
                data, splits[fold, config.image.size] = transform_fold(config, console=console)
        with NodeDisplay(console, [_row_title(variant, fold) for fold in folds]) as display:
            for fold, config in configs.items():
                candidate = candidate_from_config(config, _CANDIDATE, synthetic_data=data.synthetic)
                display.started(_row_title(variant, fold))
                results[fold][variant.name], state = _train_or_load(
                    variant, candidate, splits[fold, config.image.size], Workspace(config.output), fold=fold
                )
                display.ended(_row_title(variant, fold), state)
    return data, [_test_set(splits[fold, settings.image.size], results[fold]) for fold in folds]


def _row_title(variant: Variant, fold: int) -> str:
    return f"{variant.name}, fold {fold + 1}"


def _train_or_load(
    variant: Variant, candidate: Candidate, splits: FoldSplits, workspace: Workspace, *, fold: int
) -> tuple[FoldResult, str]:
    """Return the result of a variant on a fold, and its state: done or cached."""
    weights = candidate.settings.weights_file
    key = text_digest(
        candidate.model_dump_json(),
        file_digest(weights) if weights else candidate.settings.weights,
        json.dumps(variant.learning_rates),
        *(split.digest for split in (splits.train, splits.validation, splits.test)),
        code_digest("pipeline.experiments.cross_validation"),
    )
    file = workspace.root / "fold_results" / f"{variant.name}-fold-{fold + 1}-{key[:16]}.json"
    if file.is_file():
        return read_fold_result(file), "cached"
    if variant.learning_rates:
        result = train_variant(
            candidate, splits, learning_rates=variant.learning_rates, cache_root=workspace.feature_maps
        )
    else:
        result = train_probe(candidate, splits, cache_root=workspace.feature_maps)
    result.write(file)
    return result, "done"


def _test_set(splits: FoldSplits, results: dict[str, FoldResult]) -> FoldTestSet:
    labels = [
        label for _, batch in splits.test.batches(batch_size=_BATCH_SIZE) for label in batch.numpy().tolist()
    ]
    return FoldTestSet(tuple(splits.test.paths()), tuple(labels), results)


def transform_fold(config: Config, *, console: Console) -> tuple[Data, FoldSplits]:
    """Run the pipeline down to Transform for one fold; a repeated run is cached.

    Args:
        config: the configuration, with the fold in `data.split.fold`.
        console: shows each node.

    Raises:
        UserError: the data are not usable.
    """
    data = prepare_data(config)
    schema = schema_file(config, data, Workspace(config.output.resolve()))
    executions = run_down_to([node_ids.TRANSFORM], config, data, schema=schema, console=console)
    folder = executions[node_ids.TRANSFORM].outputs["transformed_examples"].uri

    def split(name: str, augmentations: Sequence[OfflineAugmentation] = ("original",)) -> TransformedSplit:
        return TransformedSplit(
            [str(folder / artifact_files.split_folder(name) / "*")],
            size=config.image.size,
            offline_augmentations=augmentations,
        )

    return data, FoldSplits(
        train=split(schema_names.TRAIN, config.training.augmentation),
        validation=split(schema_names.VALIDATION),
        test=split(schema_names.TEST),
    )


def train_variant(
    candidate: Candidate, splits: FoldSplits, *, learning_rates: Sequence[float], cache_root: Path
) -> FoldResult:
    """Train once for each learning rate, with early stopping, and test the model of the lowest val_loss.

    Test images are used once, by the chosen model.

    Args:
        candidate: the model and its training.
        splits: of the fold.
        learning_rates: to try.
        cache_root: folder for cached feature maps.

    Raises:
        UserError: the loss is not finite with any learning rate.
    """
    start = time.monotonic()
    start_from_seed(candidate.seed)
    setup = TrainingSetup(
        candidate,
        devices=prepare_devices(candidate.devices),
        train=splits.train,
        validation=splits.validation,
        cache_root=cache_root,
    )
    trials: list[dict[str, float]] = []
    best_weights: list[np.ndarray] = []
    for rate in learning_rates:
        trial, model = _train(setup, rate)
        trials.append(trial)
        if trial is min(trials, key=lambda one: one["val_loss"]):
            best_weights = model.get_weights()
    best = min(trials, key=lambda one: one["val_loss"])
    if not math.isfinite(best["val_loss"]):
        raise UserError(
            f"training {candidate.name}: the loss is not finite with any learning rate of {learning_rates}; "
            "lower them"
        )
    model.set_weights(best_weights)
    scores = model.predict(splits.test.batches(batch_size=_BATCH_SIZE), verbose=0)[:, 1]
    return FoldResult(
        chosen={name: best[name] for name in ("learning_rate", "best_epoch")},
        trials=tuple(trials),
        scores=tuple(map(float, scores)),
        seconds=time.monotonic() - start,
        device=setup.devices.description,
    )


def _train(setup: TrainingSetup, learning_rate: float) -> tuple[dict[str, float], keras.Model]:
    """Return the trial of one training, and the whole model with the weights of its best epoch."""
    candidate = setup.candidate
    start_from_seed(candidate.seed)
    trainable, model = setup.build(learning_rate=learning_rate, momentum=candidate.training.momentum)
    stopping = candidate.early_stopping()
    history = trainable.fit(
        **fit_arguments(candidate, setup.train, setup.validation, replicas=setup.devices.replicas),
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


C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

LabeledEmbeddings = tuple[np.ndarray, np.ndarray]  # float [images, channels], class indices [images]


def train_probe(candidate: Candidate, splits: FoldSplits, *, cache_root: Path) -> FoldResult:
    """Fit a linear probe to the averaged feature maps of a candidate's frozen backbone.

    Args:
        candidate: model whose backbone is used.
        splits: of the fold; the training images have the candidate's offline augmentations.
        cache_root: folder for cached feature maps.
    """
    start_from_seed(candidate.seed)
    model = candidate.model(pixel_statistics=splits.train.pixel_statistics())
    frozen, _ = split_model(model, candidate.name, trainable_blocks=0)

    def embed(split: TransformedSplit) -> LabeledEmbeddings:
        maps = cache_split(split, frozen, root=cache_root, batch_size=_BATCH_SIZE)
        pairs = [
            (batch.astype("float32").mean(axis=(1, 2)), labels)
            for batch, labels in maps.batches(batch_size=_BATCH_SIZE).as_numpy_iterator()
        ]
        embeddings, labels = zip(*pairs, strict=True)
        return np.concatenate(embeddings), np.concatenate(labels)

    return linear_probe(
        train=embed(splits.train), validation=embed(splits.validation), test=embed(splits.test)[0]
    )


def linear_probe(
    *,
    train: LabeledEmbeddings,
    validation: LabeledEmbeddings,
    test: np.ndarray,
    c_grid: Sequence[float] = C_GRID,
) -> FoldResult:
    """Fit a logistic regression with balanced class weights for each C, and test the best.

    Args:
        train: fits scaling and regression.
        validation: chooses the C with the lowest log loss.
        test: embeddings [images, channels].
        c_grid: inverse strengths of the L2 penalty. Default: `C_GRID`.
    """
    start = time.monotonic()
    models = {
        c: make_pipeline(
            StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000)
        ).fit(*train)
        for c in c_grid
    }
    embeddings, labels = validation
    losses = {c: float(log_loss(labels, model.predict_proba(embeddings))) for c, model in models.items()}
    best = min(losses, key=lambda c: losses[c])
    return FoldResult(
        chosen={"C": best},
        trials=tuple({"C": c, "val_loss": loss} for c, loss in losses.items()),
        scores=tuple(map(float, models[best].predict_proba(test)[:, 1])),
        seconds=time.monotonic() - start,
        device="CPU",
    )


def patient_by_image(config: Config, data: Data) -> dict[str, str]:
    """Return the patient of each image, by path."""
    settings = config.data
    catalog = read_catalog(
        data.source,
        root=data.root,
        classes=settings.classes,
        keep_duplicate_slides=settings.keep_duplicate_slides,
    )
    return {image.path: image.patient for image in catalog.images}
