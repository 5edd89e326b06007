"""The paper's comparison: every model, trained by the pipeline for several numbers of epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from knet.base import artifact_files, node_ids, schema_names
from knet.base.digests import git_commit
from knet.evaluation.bootstrap import estimate_metrics
from knet.evaluation.patient_metrics import PatientSample
from knet.models.hybrid import BACKBONE, count_flops
from knet.runs.record import Data, Execution
from knet.runs.workspace import Workspace
from knet.training.dataset import TransformedSplit
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments.provenance import host_description, published_config
from pipeline.preflight import check_weights, fetch_weights, prepare_data, schema_file
from pipeline.runners.local import run_down_to

_BATCH_SIZE = 32  # of inference
_METRICS = ("accuracy", "balanced_accuracy", "patient_recognition_rate", "roc_auc")


def run_paper(scale: str, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Run the pipeline down to the Trainers for every schedule, and evaluate the models on test patients.

    No model is gated or pushed. Nodes above the Trainers run once, and completed trainings are cached.

    Args:
        scale: key of `SCALES`.
        overrides: `key=value` overrides of its preset.
        console: shows every step.

    Returns:
        The results as JSON.

    Raises:
        UserError: data or weights are not usable, or a training failed with a user error.
    """
    preset, *fixed = SCALES[scale].preset, *SCALES[scale].overrides
    config = load_config(preset, [*fixed, *overrides])
    check_weights(config)
    fetch_weights(config)
    data = prepare_data(config)
    schedules = SCALES[scale].schedules()
    runs = {}
    for schedule in schedules:
        console.print(f"training: {schedule.title}")
        scheduled = load_config(preset, [*fixed, *overrides, *schedule.overrides])
        runs[schedule.name] = _run(scheduled, data, console=console)
    return {
        "scale": scale,
        "synthetic": data.synthetic,
        "source": data.source.name,
        "fingerprint": data.fingerprint,
        "images": data.images,
        "patients": data.patients,
        "split_notes": data.split_notes,
        "schedules": [asdict(schedule) for schedule in schedules],
        "runs": runs,
        "config": published_config(config),
        "host": host_description(),
        "commit": git_commit(),
    }


def _run(config: Config, data: Data, *, console: Console) -> dict[str, Any]:
    """Return the training history and test metrics of each candidate, by name."""
    trainers = {name: node_ids.trainer(name) for name in config.candidates}
    executions = run_down_to(
        list(trainers.values()),
        config,
        data,
        schema=schema_file(config, data, Workspace(config.output.resolve())),
        console=console,
    )
    examples = executions[node_ids.TRANSFORM].outputs["transformed_examples"].uri
    test = TransformedSplit(
        [str(examples / artifact_files.split_folder(schema_names.TEST) / "*")], size=config.image.size
    )
    return {name: _evaluate(executions[node], test) for name, node in trainers.items()}


def _evaluate(trainer: Execution, test: TransformedSplit) -> dict[str, Any]:
    logs: Path = trainer.outputs["model_run"].uri
    history = json.loads((logs / artifact_files.HISTORY).read_text(encoding="utf-8"))
    model = keras.saving.load_model(logs / artifact_files.KERAS_MODEL, compile=False)
    labels, patients = test.labels_and_patients()
    sample = PatientSample(
        images=test.paths(),
        patients=patients,
        labels=labels,
        scores=model.predict(test.batches(batch_size=_BATCH_SIZE), verbose=0)[:, 1],
    )
    estimates = estimate_metrics(sample)
    return {
        "epochs": history["epochs"],
        "best_epoch": history["best_epoch"],
        "metrics": {name: list(asdict(estimates[name]).values()) for name in _METRICS},
        "majority_share": float(max(sample.labels.mean(), 1 - sample.labels.mean())),
        "parameters": model.count_params(),
        "flops": count_flops(model),
        "backbone_parameters": model.get_layer(BACKBONE).count_params(),
        "backbone_flops": count_flops(model.get_layer(BACKBONE)),
    }


@dataclass(frozen=True)
class Schedule:
    """Training of every candidate, as overrides of the experiment's configuration.

    Attributes:
        name: identifier in results.
        title: text for tables and figures.
        overrides: `key=value` each.
        deep: whether it varies the number of trainable blocks, not of epochs.
    """

    name: str
    title: str
    overrides: tuple[str, ...]
    deep: bool = False


@dataclass(frozen=True)
class Scale:
    """Size of the experiment.

    Attributes:
        preset: of the configuration.
        overrides: `key=value` overrides of the preset.
        epochs: numbers of epochs; the last is the maximum with early stopping.
    """

    preset: str
    overrides: tuple[str, ...]
    epochs: tuple[int, ...]

    def schedules(self) -> tuple[Schedule, ...]:
        """Return all schedules, the paper's first."""
        fixed = tuple(_fixed_epochs(epochs) for epochs in self.epochs)
        maximum = f"training.epochs={self.epochs[-1]}"
        depths = tuple(
            Schedule(name, title, (maximum, *overrides), deep=True) for name, title, overrides in _DEPTHS
        )
        return (*fixed, Schedule(EARLY_STOPPING, "early stopping", (maximum,)), *depths)


EARLY_STOPPING = "early-stopping"
_DEPTHS = (
    ("head", "head only", ("training.fine_tune=blocks", "training.blocks=0")),
    ("two-blocks", "head and two blocks", ("training.fine_tune=blocks", "training.blocks=2")),
    ("all", "all blocks from the first epoch", ("training.fine_tune=all",)),
)
SCALES = {
    "full": Scale("paper", (), (75, 100, 150, 200)),
    # Checks that the experiment runs; its figures say nothing about the models.
    "smoke": Scale(
        "demo",
        (
            "tuning=null",
            "image.size=32",
            "candidates={mobilenet: {weights: none, alpha: 0.25}, vgg16: {weights: none}}",
            "training.fine_tune=staged",
        ),
        (2, 3, 4, 5),
    ),
}


def _fixed_epochs(epochs: int) -> Schedule:
    # With a patience of all epochs, early stopping never stops, but restores the best epoch.
    overrides = (f"training.epochs={epochs}", f"training.early_stopping_patience={epochs}")
    return Schedule(f"{epochs}-epochs", f"{epochs} epochs", overrides)
