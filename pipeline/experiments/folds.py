"""Cross-validation over folds of patients, by the components of the pipeline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console

from knet.base import artifact_files, node_ids, schema_names
from knet.base.errors import UserError
from knet.evaluation.predictions import FOLDER, read_predictions, score_columns
from knet.models.model_info import read_model_info
from knet.runs.record import Data, Execution
from knet.runs.workspace import Workspace
from knet.training.dataset import TransformedSplit
from knet.training.feature_cache import FeatureRangeError
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.experiments.external import ExternalImages, ExternalPredictions
from pipeline.experiments.folds_folder import PROBE
from pipeline.experiments.linear_probe import ProbeResult, train_probe
from pipeline.experiments.progress import with_progress
from pipeline.preflight import plan_data, prepare_data, schema_file
from pipeline.runners.local import run_down_to

SEED, FOLD = "seed", "fold"  # columns of the predictions, beside those of the Evaluators
_PROBE_THRESHOLD: Final = 0.5

LoadConfig = Callable[[Sequence[str]], Config]  # from `key=value` overrides


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of every candidate for the test images of every fold.

    Attributes:
        config: the configuration, without a fold.
        data: the data, as split in the first fold.
        folds: number of folds.
        seeds: of the repeats.
        predictions: a row for each candidate, seed and image, with the columns of the Evaluators, `seed`, and
            `fold` from 1.
        trainings: a row for each candidate, seed and fold, with the hyperparameters that were chosen.
        external: further test images; None without them.
        external_predictions: a row for each candidate, seed and external image, as of
            `ExternalPredictions.frame`; None without such images.
    """

    config: Config
    data: Data
    folds: int
    seeds: tuple[int, ...]
    predictions: pd.DataFrame
    trainings: list[dict[str, Any]]
    external: ExternalImages | None = None
    external_predictions: pd.DataFrame | None = None

    @property
    def names(self) -> list[str]:
        """Names of the candidates, the linear probe last."""
        return list(dict.fromkeys(row["candidate"] for row in self.trainings))


def cross_validate(
    load: LoadConfig,
    data: Data,
    *,
    folds: int,
    repeats: int,
    probe: str | None,
    console: Console,
    external: ExternalImages | None = None,
) -> CrossValidation:
    """Run the pipeline down to the Evaluators on every fold, and collect their predictions.

    Nodes that ran before are cached. Every repeat has a seed for splits and trainings.

    Args:
        load: returns the configuration with some overrides.
        data: the data, as split in the first fold.
        folds: number of folds.
        repeats: number of seeds, from that of the configuration.
        probe: candidate whose frozen backbone gets a linear probe; None: no probe.
        console: shows every step.
        external: further test images. The models of a fold predict those of its test patients and of
            patients in no fold.

    Raises:
        UserError: the data are not usable, or a training failed.
    """
    config = load([])
    fixed = [
        f"data.source={json.dumps(str(data.source))}"
    ]  # sample images depend on the seed, which repeats change
    seeds = tuple(range(config.seed, config.seed + repeats))
    frames: list[pd.DataFrame] = []
    trainings: list[dict[str, Any]] = []
    predicted = ExternalPredictions(config.data.classes)
    steps = [(seed, fold) for seed in seeds for fold in range(folds)]
    for seed, fold in with_progress(steps, trainings, console, title=_title):
        split = [f"seed={seed}", f"data.split.folds={folds}", f"data.split.fold={fold}"]
        run = _Fold(load([*fixed, *split]), external, console)
        run.execute()
        results = [run.evaluated(name) for name in config.candidates]
        if probe:
            results.append(run.probed(probe))
        for result in results:
            frames.append(result.test.assign(**{SEED: seed, FOLD: fold + 1}))
            trainings.append({**result.row, SEED: seed, FOLD: fold + 1})
            if run.external and result.external is not None:
                name = result.row["candidate"]
                predicted.add(name, seed, run.external.images, result.external, threshold=result.threshold)
    return CrossValidation(
        config,
        data,
        folds,
        seeds,
        pd.concat(frames, ignore_index=True),
        trainings,
        external,
        predicted.frame() if external else None,
    )


def _title(step: tuple[int, int]) -> str:
    seed, fold = step
    return f"fold {fold + 1}, seed {seed}"


@dataclass(frozen=True)
class _Result:
    """Predictions and training of a candidate on one fold."""

    test: pd.DataFrame  # predictions for the test images
    row: dict[str, Any]  # of the training
    threshold: float | None
    external: NDArray[np.float32] | None  # probabilities of the external images, [images, classes]


class _Fold:
    """The pipeline on one fold.

    Attributes:
        external: the external images that may test the models of this fold; None if there are none.
    """

    def __init__(self, config: Config, external: ExternalImages | None, console: Console) -> None:
        self.config = config
        self.data = prepare_data(config)
        self.external: ExternalImages | None = None
        if external:
            _, _, split = plan_data(config, self.data.source)
            part = external.tested_in(split)
            self.external = part if part.images else None
        self._console = console
        self._workspace = Workspace(config.output.resolve())
        self._executions: dict[str, Execution] = {}

    def execute(self) -> None:
        """Run the nodes down to the Evaluators."""
        self._executions = run_down_to(
            [node_ids.evaluator(name) for name in self.config.candidates],
            self.config,
            self.data,
            schema=schema_file(self.config, self.data, self._workspace),
            console=self._console,
        )

    def evaluated(self, name: str) -> _Result:
        """Return a candidate's predictions for the test images, and the row of its training."""
        trainer = self._executions[node_ids.trainer(name)]
        evaluation = self._executions[node_ids.evaluator(name)].outputs["evaluation"].uri
        frame = read_predictions(evaluation / FOLDER)
        info = read_model_info(trainer.outputs["model"].uri)
        history = json.loads(
            (trainer.outputs["model_run"].uri / artifact_files.HISTORY).read_text(encoding="utf-8")
        )
        row = {
            "candidate": name,
            "learning_rate": info.learning_rate,
            "epochs": info.epochs,
            "best_epoch": history["best_epoch"],
            "seconds": round(info.seconds, 1),
            "cached": trainer.cached,
        }
        return _Result(
            frame[frame[schema_names.SPLIT] == schema_names.TEST],
            row,
            info.calibration.threshold,
            _served_probabilities(trainer.outputs["model"].uri, self.external) if self.external else None,
        )

    def probed(self, name: str) -> _Result:
        """Return the predictions of a linear probe on a candidate's frozen backbone, and its row."""
        start = time.monotonic()
        candidate = candidate_from_config(self.config, name, synthetic_data=self.data.synthetic)
        transform = self._executions[self.config.transform_id(name)]
        folder = transform.outputs["transformed_examples"].uri
        train, validation, test = (
            TransformedSplit(
                [str(folder / artifact_files.split_folder(split) / "*")],
                size=candidate.image.size,
                offline_augmentations=candidate.training.augmentation
                if split == schema_names.TRAIN
                else ("original",),
            )
            for split in schema_names.SPLITS
        )
        try:
            result = train_probe(
                candidate,
                train=train,
                validation=validation,
                test=test,
                external=self.external.batches() if self.external else (),
                cache_root=self._workspace.feature_maps,
            )
        except FeatureRangeError as error:
            raise UserError(f"--probe {name}: {error}; name a candidate with trained weights") from None
        seconds = round(time.monotonic() - start, 1)
        row = {"candidate": PROBE, "c": result.c, "seconds": seconds, "cached": True}
        external = result.external if self.external else None
        return _Result(_probe_predictions(result, test), row, _PROBE_THRESHOLD, external)


def _served_probabilities(model: Path, images: ExternalImages) -> NDArray[np.float32]:
    """Predict images with the SavedModel that a server would load."""
    loaded = tf.saved_model.load(str(model / artifact_files.SERVING_FORMAT))
    predict = loaded.signatures[schema_names.SERVING_SIGNATURE]
    outputs = [
        predict(**{schema_names.SERVING_INPUT: tf.constant(batch)})[schema_names.PROBABILITIES]
        for batch in images.batches()
    ]
    return np.concatenate(outputs)


def _probe_predictions(result: ProbeResult, test: TransformedSplit) -> pd.DataFrame:
    labels, patients = test.labels_and_patients()
    return pd.DataFrame(
        {
            schema_names.CANDIDATE: PROBE,
            schema_names.IMAGE_PATH: test.paths(),
            schema_names.PATIENT: patients,
            schema_names.SPLIT: schema_names.TEST,
            schema_names.LABEL: labels,
            schema_names.THRESHOLD: _PROBE_THRESHOLD,
            **score_columns(result.probabilities.astype("float32")),
        }
    )
