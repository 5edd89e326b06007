"""Runs the paper's comparison through the graph: every model, trained for several numbers of epochs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from pipeline import features
from pipeline.commit import commit
from pipeline.config import Config, load_config
from pipeline.dataset import TransformedSplit
from pipeline.evaluation.bootstrap import estimate_metrics
from pipeline.evaluation.patient_sample import PatientSample
from pipeline.experiments.machine import machine
from pipeline.experiments.patients_of import patients_of
from pipeline.experiments.published_config import published_config
from pipeline.experiments.schedules import SCALES, Schedule
from pipeline.models.count_flops import count_flops
from pipeline.models.hybrid_model import BODY
from pipeline.preflight import check_weights, fetch_weights, prepare_data
from pipeline.run_record import Data
from pipeline.runners.execution import Execution
from pipeline.runners.local import run_down_to
from pipeline.schema.schema_file import schema_file
from pipeline.workspace import Workspace

_AT_ONCE = 32
_METRICS = ("accuracy", "balanced_accuracy", "patient_recognition_rate", "roc_auc")


def run_paper(scale: str, overrides: Sequence[str], *, console: Console) -> dict[str, Any]:
    """Trains what was not trained before, down to the Trainers, and judges every model on test patients.

    Nothing is gated or pushed. The nodes above the Trainers run once, and a training that ended is answered
    from the cache.

    Args:
        scale: one of `SCALES`.
        overrides: of its preset.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable, or a training failed in a way that the user can mend.

    Returns:
        All figures, as JSON can hold them.
    """
    preset, *fixed = SCALES[scale].preset, *SCALES[scale].overrides
    config = load_config(preset, [*fixed, *overrides])
    check_weights(config)
    fetch_weights(config)
    data = prepare_data(config)
    patients = patients_of(config, data)
    schedules = SCALES[scale].schedules()
    runs = {}
    for schedule in schedules:
        console.print(f"training: {schedule.title}")
        tried = load_config(preset, [*fixed, *overrides, *schedule.overrides])
        runs[schedule.name] = _run(tried, data, schedule, patients, console=console)
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
        "machine": machine(),
        "commit": commit(),
    }


def _run(
    config: Config, data: Data, schedule: Schedule, patients: Mapping[str, str], *, console: Console
) -> dict[str, Any]:
    """By candidate, how its training went and what it came to."""
    trainers = {name: f"Trainer-{name}" for name in config.candidates}
    executions = run_down_to(
        list(trainers.values()),
        config,
        data,
        schema=schema_file(config, data, Workspace(config.output.resolve())),
        console=console,
    )
    examples = executions["Transform"].outputs["transformed_examples"].uri
    test = TransformedSplit([str(examples / f"Split-{features.SPLITS[-1]}" / "*")], size=config.image.size)
    return {name: _judge(executions[node], test, patients) for name, node in trainers.items()}


def _judge(trainer: Execution, test: TransformedSplit, patients: Mapping[str, str]) -> dict[str, Any]:
    logs: Path = trainer.outputs["model_run"].uri
    history = json.loads((logs / "history.json").read_text(encoding="utf-8"))
    model = keras.saving.load_model(logs / "model.keras", compile=False)
    paths = test.paths()
    sample = PatientSample(
        images=paths,
        patients=[patients[path] for path in paths],
        labels=[label for _, labels in test.batches(batch_size=_AT_ONCE) for label in labels.numpy()],
        scores=model.predict(test.batches(batch_size=_AT_ONCE), verbose=0)[:, 1],
    )
    estimates = estimate_metrics(sample)
    return {
        "epochs": history["epochs"],
        "best_epoch": history["best_epoch"],
        "metrics": {name: list(asdict(estimates[name]).values()) for name in _METRICS},
        "majority_share": float(max(sample.labels.mean(), 1 - sample.labels.mean())),
        "parameters": model.count_params(),
        "flops": count_flops(model),
        "backbone_parameters": model.get_layer(BODY).count_params(),
        "backbone_flops": count_flops(model.get_layer(BODY)),
    }
