"""The paper's comparison: every model, trained once by the pipeline and evaluated after several epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import keras
from rich.console import Console

from knet.base import artifact_files, node_ids, schema_names
from knet.base.digests import git_commit
from knet.base.errors import UserError
from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.bootstrap import estimate_metrics
from knet.models.hybrid import BACKBONE, count_flops
from knet.runs.record import Data, Execution
from knet.runs.workspace import Workspace
from knet.training.dataset import TransformedSplit
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments.progress import with_progress
from pipeline.experiments.provenance import host_description, published_config
from pipeline.preflight import check_weights, fetch_weights, prepare_data, schema_file
from pipeline.runners.local import run_down_to

EARLY_STOPPING: Final = "early-stopping"  # name of an evaluation; the others are those of epochs
_BATCH_SIZE = 32  # of inference
_METRICS = ("accuracy", "balanced_accuracy", "patient_recognition_rate", "roc_auc")


def load_paper_config(scale: str, overrides: Sequence[str]) -> Config:
    """Load the configuration of the experiment.

    Args:
        scale: key of `SCALES`.
        overrides: `key=value` overrides of its preset.

    Raises:
        UserError: the configuration is not valid, or has more than two classes.
    """
    config = load_config(SCALES[scale].preset, [*SCALES[scale].overrides, *overrides])
    if len(config.data.classes) > 2:
        raise UserError(
            f"data.classes: the paper compares models on two classes, not {len(config.data.classes)}; name "
            "two, or compare with `knet experiment folds`"
        )
    return config


def run_paper(scale: str, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Train every candidate with each schedule, and evaluate the models on test patients.

    The first schedule trains to the greatest number of epochs. Its snapshots are evaluated after each of the
    scale's numbers of epochs, and its model with early stopping, which is found on the same trajectory. No
    model is gated or pushed. Nodes above the Trainers run once, and completed trainings are cached.

    Args:
        scale: key of `SCALES`.
        overrides: `key=value` overrides of its preset.
        console: shows every step.

    Returns:
        The results as JSON.

    Raises:
        UserError: data or weights are not usable, or a training failed with a user error.
    """
    config = load_paper_config(scale, overrides)
    check_weights(config)
    fetch_weights(config)
    data = prepare_data(config)
    epochs, main, *depths = SCALES[scale].epochs, *SCALES[scale].schedules()
    steps = [(schedule, name) for schedule in (main, *depths) for name in config.candidates]
    models: dict[str, dict[str, Any]] = {}
    trainings: list[dict[str, Any]] = []
    for schedule, name in with_progress(steps, trainings, console, title=_title):
        scheduled = load_paper_config(scale, [*overrides, *schedule.overrides])
        trained = _Trained.run(name, scheduled, data, console=console)
        trainings.append({"cached": trained.cached})
        if schedule is main:
            models[name] = trained.results(epochs)
        else:
            models[name]["depths"][schedule.name] = trained.evaluate()
    return {
        "scale": scale,
        "synthetic": data.synthetic,
        "source": data.source.name,
        "fingerprint": data.fingerprint,
        "images": data.images,
        "patients": data.patients,
        "split_notes": data.split_notes,
        "evaluations": {
            **{_after(number): f"{number} epochs" for number in epochs},
            EARLY_STOPPING: "early stopping",
        },
        "drawn_epochs": SCALES[scale].drawn_epochs,
        "depths": [asdict(schedule) for schedule in depths],
        "models": models,
        "config": published_config(config),
        "host": host_description(),
        "commit": git_commit(),
    }


def _title(step: tuple[Schedule, str]) -> str:
    schedule, name = step
    return f"{name}, {schedule.title}"


def _after(epochs: int) -> str:
    """Return the name of the evaluation of the weights after a number of epochs."""
    return f"{epochs}-epochs"


class _Trained:
    """A trained candidate, and the images that it is evaluated on."""

    def __init__(self, name: str, config: Config, executions: dict[str, Execution]) -> None:
        trainer = executions[node_ids.trainer(name)]
        self.cached = trainer.cached
        self._backbone = config.candidates[name].backbone or name
        self._folder: Path = trainer.outputs["model_run"].uri
        self._model = keras.saving.load_model(self._folder / artifact_files.KERAS_MODEL, compile=False)
        examples = executions[config.transform_id(name)].outputs["transformed_examples"].uri
        self._test = TransformedSplit(
            [str(examples / artifact_files.split_folder(schema_names.TEST) / "*")],
            size=config.for_candidate(name).image.size,
        )

    @classmethod
    def run(cls, name: str, config: Config, data: Data, *, console: Console) -> _Trained:
        """Run the pipeline down to the candidate's Trainer."""
        schema = schema_file(config, data, Workspace(config.output.resolve()))
        return cls(
            name,
            config,
            run_down_to([node_ids.trainer(name)], config, data, schema=schema, console=console),
        )

    def results(self, epochs: Sequence[int]) -> dict[str, Any]:
        """Return history, size and metrics of the model, and the metrics of its snapshots."""
        history = json.loads((self._folder / artifact_files.HISTORY).read_text(encoding="utf-8"))
        backbone = self._model.get_layer(BACKBONE)
        metrics = {EARLY_STOPPING: self.evaluate()}
        for number in epochs:
            self._model.load_weights(self._folder / artifact_files.snapshot_file(number))
            metrics[_after(number)] = self.evaluate()
        labels, _ = self._test.labels_and_patients()
        return {
            "backbone": self._backbone,
            "epochs": history["epochs"],
            "best_epoch": history["best_epoch"],
            "stopped_after": history["stopped_after"],
            "metrics": metrics,
            "depths": {},
            "majority_share": float(max(labels.mean(), 1 - labels.mean())),
            "parameters": self._model.count_params(),
            "flops": count_flops(self._model),
            "backbone_parameters": backbone.count_params(),
            "backbone_flops": count_flops(backbone),
        }

    def evaluate(self) -> dict[str, list[float | None]]:
        """Return value, low and high of each metric on test patients."""
        labels, patients = self._test.labels_and_patients()
        sample = BinarySample(
            images=self._test.paths(),
            patients=patients,
            labels=labels,
            scores=self._model.predict(self._test.batches(batch_size=_BATCH_SIZE), verbose=0)[:, 1],
        )
        estimates = estimate_metrics(sample)
        return {name: list(asdict(estimates[name]).values()) for name in _METRICS}


@dataclass(frozen=True)
class Schedule:
    """Training of every candidate, as overrides of the experiment's configuration.

    Attributes:
        name: identifier in results.
        title: text for tables and progress.
        overrides: `key=value` each.
    """

    name: str
    title: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Size of the experiment.

    Attributes:
        preset: of the configuration.
        overrides: `key=value` overrides of the preset.
        epochs: numbers of epochs to evaluate models after, ascending.
        drawn_epochs: lengths of the curves in the figures; the last of `epochs` at most.
    """

    preset: str
    overrides: tuple[str, ...]
    epochs: tuple[int, ...]
    drawn_epochs: tuple[int, int]

    def schedules(self) -> tuple[Schedule, ...]:
        """Return the training with snapshots, then those that vary the trainable blocks."""
        last = f"training.epochs={self.epochs[-1]}"
        snapshots = f"training.snapshots={list(self.epochs)}"
        return (
            Schedule("epochs", f"{self.epochs[-1]} epochs", (last, snapshots)),
            *(Schedule(name, title, (last, *overrides)) for name, title, overrides in _DEPTHS),
        )


_DEPTHS = (
    ("head", "head only", ("training.fine_tune=blocks", "training.blocks=0")),
    ("two-blocks", "head and two blocks", ("training.fine_tune=blocks", "training.blocks=2")),
    ("all", "all blocks from the first epoch", ("training.fine_tune=all",)),
)
SCALES = {
    "full": Scale("paper", (), epochs=(75, 100, 150, 200), drawn_epochs=(100, 200)),
    # Checks that the experiment runs; its figures say nothing about the models.
    "smoke": Scale(
        "demo",
        (
            "tuning=null",
            "image.size=32",
            "candidates={mobilenet: {weights: none, alpha: 0.25}, vgg16: {weights: none}}",
            "training.fine_tune=staged",
        ),
        epochs=(2, 3, 4, 5),
        drawn_epochs=(3, 5),
    ),
}
