"""Cross-validation over folds of patients, by the components of the pipeline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from rich.console import Console

from knet.base import artifact_files, node_ids, schema_names
from knet.base.errors import UserError
from knet.evaluation.predictions import FOLDER, read_predictions
from knet.models.model_info import read_model_info
from knet.runs.record import Data, Execution
from knet.runs.workspace import Workspace
from knet.training.dataset import TransformedSplit
from knet.training.feature_cache import FeatureRangeError
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.experiments.folds_folder import PROBE
from pipeline.experiments.linear_probe import ProbeResult, train_probe
from pipeline.experiments.progress import with_progress
from pipeline.preflight import prepare_data, schema_file
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
    """

    config: Config
    data: Data
    folds: int
    seeds: tuple[int, ...]
    predictions: pd.DataFrame
    trainings: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """Names of the candidates, the linear probe last."""
        return list(dict.fromkeys(row["candidate"] for row in self.trainings))


def cross_validate(
    load: LoadConfig, data: Data, *, folds: int, repeats: int, probe: str | None, console: Console
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
    steps = [(seed, fold) for seed in seeds for fold in range(folds)]
    for seed, fold in with_progress(steps, trainings, console, title=_title):
        split = [f"seed={seed}", f"data.split.folds={folds}", f"data.split.fold={fold}"]
        run = _Fold(load([*fixed, *split]), console)
        run.execute()
        results = [run.evaluated(name) for name in config.candidates]
        if probe:
            results.append(run.probed(probe))
        for frame, row in results:
            frames.append(frame.assign(**{SEED: seed, FOLD: fold + 1}))
            trainings.append({**row, SEED: seed, FOLD: fold + 1})
    return CrossValidation(config, data, folds, seeds, pd.concat(frames, ignore_index=True), trainings)


def _title(step: tuple[int, int]) -> str:
    seed, fold = step
    return f"fold {fold + 1}, seed {seed}"


_Result = tuple[pd.DataFrame, dict[str, Any]]  # predictions, and the row of the training


class _Fold:
    """The pipeline on one fold."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config = config
        self.data = prepare_data(config)
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
        return frame[frame[schema_names.SPLIT] == schema_names.TEST], row

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
                cache_root=self._workspace.feature_maps,
            )
        except FeatureRangeError as error:
            raise UserError(f"--probe {name}: {error}; name a candidate with trained weights") from None
        seconds = round(time.monotonic() - start, 1)
        row = {"candidate": PROBE, "c": result.c, "seconds": seconds, "cached": True}
        return _probe_predictions(result, test), row


def _probe_predictions(result: ProbeResult, test: TransformedSplit) -> pd.DataFrame:
    labels, patients = test.labels_and_patients()
    probabilities = result.probabilities.astype("float32")
    two = probabilities.shape[1] == 2
    columns = {} if two else {schema_names.PROBABILITIES: list(probabilities)}
    return pd.DataFrame(
        {
            schema_names.CANDIDATE: PROBE,
            schema_names.IMAGE_PATH: test.paths(),
            schema_names.PATIENT: patients,
            schema_names.SPLIT: schema_names.TEST,
            schema_names.LABEL: labels,
            schema_names.SCORE: probabilities[:, 1] if two else probabilities.max(axis=1),
            schema_names.THRESHOLD: _PROBE_THRESHOLD,
            **columns,
        }
    )
