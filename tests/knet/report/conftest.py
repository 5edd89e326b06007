"""A synthetic run: metrics and images for every section of the page."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from run_records import model_info, run_record

from knet.base import run_files, schema_names
from knet.evaluation.predictions import read_predictions, write_predictions
from knet.evaluation.results import candidate_results
from knet.models.calibration import Calibration, calibrate
from knet.models.settings import CalibrationConfig
from knet.report.patients import images_to_show, patient_rows
from knet.runs.record import CandidateRecord, NodeRecord, RunRecord
from pipeline.config.load import load_config

CANDIDATES = {  # parameters, FLOPs, epochs, accuracy
    "mobilenet": (3_900_000, 1_200_000_000, 43, 0.81),
    "vgg16": (15_500_000, 32_000_000_000, 43, 0.84),
    "resnet50": (25_100_000, 8_200_000_000, 61, 0.88),
    "resnet101": (44_200_000, 16_100_000_000, 103, 0.90),
    "resnet152": (59_900_000, 23_900_000_000, 74, 0.91),
}
WINNER = "resnet152"
CLASSES = ("benign", "malignant")
PATIENTS = {"train": (16, 34), "validation": (4, 8), "test": (3, 5)}  # by class


@pytest.fixture(scope="session")
def full_record() -> RunRecord:
    """The record of a run that pushed."""
    record = run_record()
    return replace(
        record,
        run_id="20240131-120000-000000",
        name="knet-synthetic",
        data=replace(
            record.data,
            source=Path("/data/BreaKHis_v1/histology_slides/breast"),
            synthetic=True,
            patients={split: sum(patients) for split, patients in PATIENTS.items()},
            images={split: 100 * sum(patients) for split, patients in PATIENTS.items()},
            columns=("slide", "subtype", "magnification", "year", "sequence"),
            excluded_duplicates=123,
        ),
        config=load_config("production").model_dump(mode="json"),
        nodes=tuple(_nodes()),
        candidates={name: _candidate(name) for name in CANDIDATES},
        metric="balanced_accuracy",
        ingest=_ingest(),
        winner=WINNER,
        choice="highest balanced_accuracy on validation patients",
        gate_notes=("there is no model in production to compare with",),
        pushed_folder="/runs/production/serving/knet/1706702400",
    )


@pytest.fixture(scope="session")
def failed_record(full_record: RunRecord) -> RunRecord:
    """The record of a run whose first node failed."""
    return replace(
        full_record,
        nodes=(NodeRecord("BreakHisExampleGen", "failed", 3.2),),
        candidates={},
        ingest=None,
        winner=None,
        pushed_version=None,
        pushed_folder=None,
        error="BreakHisExampleGen: 2 images cannot be used:\n  a.png: truncated <script>\n  b.png: grey",
        user_error=True,
    )


@pytest.fixture(scope="session")
def full_folder(full_record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run, with the inputs of every section."""
    folder = tmp_path_factory.mktemp("reports") / full_record.run_id
    write_inputs(folder)
    return folder


TISSUES = ("fat", "stroma", "tumor")


@pytest.fixture(scope="session", params=[("tumor",), ()], ids=["group", "no group"])
def run_of_three(
    full_record: RunRecord,
    full_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_class_predictions: Callable[..., pd.DataFrame],
    request: pytest.FixtureRequest,
) -> tuple[RunRecord, Path]:
    """Record and folder of that run with three classes, with and without a positive group."""
    positive = request.param
    threshold = 0.5 if positive else None
    folder = tmp_path_factory.mktemp("reports") / "three"
    shutil.copytree(full_folder, folder)
    for name, (*_, accuracy) in CANDIDATES.items():
        predictions = make_class_predictions(
            name, right=accuracy, patients=5, threshold=math.nan if threshold is None else threshold
        )
        write_predictions(predictions, folder / run_files.PREDICTIONS / f"{name}.parquet")
    _write_results(folder, classes=TISSUES, positive=positive, slices=("magnification",))
    _write_thumbnails(folder)
    config = load_config(
        "production", [f"data.classes={list(TISSUES)}", f"data.positive={list(positive) or 'null'}"]
    )
    labels = np.repeat([0, 1, 2], 100)
    logits = np.random.default_rng(0).normal(3 * np.eye(3)[labels], 2)
    group = [TISSUES.index(name) for name in positive]
    fitted = calibrate(logits, labels, settings=CalibrationConfig(), positive=group)
    changes = {
        "classes": TISSUES,
        "positive": positive,
        "calibration": replace(fitted, threshold=threshold),
    }
    counts = {split: dict.fromkeys(TISSUES, 5) for split in PATIENTS}
    record = replace(
        full_record,
        data=replace(full_record.data, columns=("site",)),
        config=config.model_dump(mode="json"),
        ingest={**(full_record.ingest or {}), "images": counts, "patients": counts},
        candidates={
            name: replace(found, info=replace(found.info, **changes))
            for name, found in full_record.candidates.items()
        },
    )
    return record, folder


def write_inputs(folder: Path) -> None:
    """Fill the folder of a run with the inputs of its page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_files.DATA_PAGE).write_text("<!doctype html><title>Data</title>", encoding="utf-8")
    drift = [{"feature": "image/eosin", "value": 0.031, "threshold": 0.2}]
    _write(folder / run_files.VALIDATION, {"anomalies": [], "drift": drift})
    for name in CANDIDATES:
        write_predictions(_predictions(name), folder / run_files.PREDICTIONS / f"{name}.parquet")
        _write(folder / run_files.TRAINING / f"{name}.json", _history(name))
    artifact = {"node": "Transform", "output": "transform_graph", "artifact": 7, "execution": 6}
    _write(
        folder / run_files.LINEAGE, [{**artifact, "cached": True, "uri": "/runs/Transform/transform_graph/6"}]
    )
    _write_results(folder)
    _write_thumbnails(folder)
    _write_explanations(folder / run_files.EXPLANATIONS)
    _write_search(folder / run_files.TUNING / "Tuner")


def _nodes() -> Iterator[NodeRecord]:
    for name, seconds in {"BreakHisExampleGen": 95.2, "StatisticsGen": 41.0, "DataGate": 0.4}.items():
        yield NodeRecord(name, "done", seconds)
    yield NodeRecord("Transform", "cached", 0.3)
    yield NodeRecord("Tuner", "done", 1830.5)
    for name, (_, _, epochs, _) in CANDIDATES.items():
        yield NodeRecord(f"Trainer-{name}", "done", 61.4 * epochs)
    for name in ("ModelSelector", "ModelGate", "ServingValidator", "Pusher"):
        yield NodeRecord(name, "done", 2.5)


def _ingest() -> dict[str, Any]:
    def by_class(scale: int) -> dict[str, dict[str, int]]:
        return {
            split: {name: scale * count for name, count in zip(CLASSES, counts, strict=True)}
            for split, counts in PATIENTS.items()
        }

    return {
        "images": by_class(100),
        "patients": by_class(1),
        "quarantined": [{"path": "benign/SOB/adenosis/SOB_B_A-14-22549AB-40-009.png", "reason": "truncated"}],
        "excluded_duplicates": [],
        "ignored_files": ["README.txt"],
        "duplicates": [],
    }


def _candidate(name: str) -> CandidateRecord:
    parameters, flops, epochs, accuracy = CANDIDATES[name]
    info = model_info(
        name,
        image_size=227,
        parameters=parameters,
        flops=flops,
        train_images=5000,
        validation_images=1200,
        epochs=epochs,
        learning_rate=0.001,
        seconds=61.4 * epochs,
        calibration=_calibration(accuracy),
        rejected={"train": 0.012, "validation": 0.049},
        device="1 x GPU",
        synthetic_data=True,
        commit="c0ffee00" * 5,
    )
    return CandidateRecord(info, {"test": {"balanced_accuracy": accuracy}})


def _calibration(accuracy: float) -> Calibration:
    """Return the calibration of an overconfident model."""
    labels = np.repeat([0, 1], [430, 976])
    off = np.random.default_rng(0).normal((2 * labels - 1) * (accuracy - 0.5) * 4, 1)
    return calibrate(np.stack([-2 * off, 2 * off], axis=1), labels, settings=CalibrationConfig())


def _predictions(name: str) -> pd.DataFrame:
    """Return scores of 100 images per patient; some patients are harder than others."""
    accuracy = CANDIDATES[name][3]
    generator = np.random.default_rng(int(1000 * accuracy))
    rows: list[dict[str, Any]] = []
    for split in ("validation", "test"):
        for number, label in enumerate(np.repeat([0, 1], PATIENTS[split]).tolist()):
            patient = f"14-{20000 + 1000 * (split == 'test') + number}"
            ease = (accuracy - 0.5) * 5 + generator.normal(0, 1.1)
            for image, noise in enumerate(generator.normal(0, 1.2, 100)):
                magnification = ("40", "100", "200", "400")[image % 4]
                row = {
                    "candidate": name,
                    "image": f"SOB_{'BM'[label]}-{patient}-{magnification}-{image:03}.png",
                    "threshold": 0.47,
                    schema_names.PATIENT: patient,
                    schema_names.SPLIT: split,
                    schema_names.LABEL: label,
                    schema_names.SCORE: 1 / (1 + math.exp(-(2 * label - 1) * ease - noise)),
                    "magnification": f"{magnification}X",
                    "subtype": ("fibroadenoma", "ductal_carcinoma")[label],
                }
                rows.append(row)
    return pd.DataFrame(rows)


def _history(name: str) -> dict[str, Any]:
    _, _, epochs, accuracy = CANDIDATES[name]
    noise = np.random.default_rng(epochs).normal(0, 0.012, (epochs, 2)).tolist()
    learned = [1 - math.exp(-epoch / 12) for epoch in range(1, epochs + 1)]
    rows = [
        {
            "epoch": epoch,
            "seconds": 61.4,
            "loss": 0.72 - 0.6 * share + train,
            "accuracy": min(0.6 + 0.38 * share + train, 1.0),
            "val_loss": 0.75 - 0.45 * share + 0.002 * epoch + validation,
            "val_accuracy": min(0.6 + (accuracy - 0.6) * share + validation, 1.0),
        }
        for epoch, (share, (train, validation)) in enumerate(zip(learned, noise, strict=True), start=1)
    ]
    return {
        "device": "1 x GPU",
        "precision": "mixed_float16",
        "best_epoch": epochs - 10,
        "resumed_after": 0,
        "epochs": rows,
    }


def _write_results(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    positive: Sequence[str] = (),
    slices: Sequence[str] = ("magnification", "subtype"),
) -> None:
    """Write the metrics of the predictions, and a decision with synthetic reasons."""
    figures = {
        name: candidate_results(
            read_predictions(folder / run_files.PREDICTIONS / f"{name}.parquet"),
            classes=classes,
            positive=positive,
            slices=slices,
            resamples=50,
            seed=0,
        )
        for name in CANDIDATES
    }
    _write(folder / run_files.RESULTS, {"classes": classes, "resamples": 50, "candidates": figures})
    metric = "balanced_accuracy"
    chosen = {
        name: {
            **_whole(found)["metrics"][metric],
            "won": name == WINNER,
            "why": f"highest {metric}" if name == WINNER else "0.031 below resnet152 (0.004 to 0.062)",
        }
        for name, found in figures.items()
    }
    decision = {
        "winner": WINNER,
        "metric": metric,
        "equivalence_margin": 0.01,
        "force_winner": None,
        "candidates": chosen,
    }
    _write(folder / run_files.DECISION, decision)


def _whole(figures: dict[str, Any]) -> dict[str, Any]:
    return next(part for part in figures["splits"]["validation"] if not part["slice"])


def _write_thumbnails(folder: Path) -> None:
    predictions = read_predictions(folder / run_files.PREDICTIONS / f"{WINNER}.parquet")
    shown = images_to_show(patient_rows(predictions[predictions[schema_names.SPLIT] == "test"]))
    index = {image: f"{number}.jpg" for number, image in enumerate(shown)}
    _write(folder / run_files.THUMBNAILS / run_files.INDEX, index)
    for number, file in enumerate(index.values()):
        _synthetic_image(number, (240, 158)).save(folder / run_files.THUMBNAILS / file)


def _write_explanations(folder: Path) -> None:
    images = []
    for number, kind in enumerate(np.repeat(["certain", "wrong", "uncertain"], 3).tolist()):
        label = number % 2
        picture = _synthetic_image(100 + number, (480, 315))
        folder.mkdir(exist_ok=True)
        picture.save(folder / f"{number}.png")
        picture.filter(ImageFilter.GaussianBlur(8)).save(folder / f"{number}-heat.png")
        image = {
            "kind": kind,
            "path": f"SOB_M_DC-14-2100{number}-100-001.png",
            "patient": f"14-2100{number}",
            "label": CLASSES[label],
            "called": CLASSES[label != (kind == "wrong")],
            "score": {"certain": 0.99, "wrong": 0.91, "uncertain": 0.48}[kind],
            "image": f"{number}.png",
            "overlay": f"{number}-heat.png",
            "similarity": 0.12,
        }
        images.append(image)
    tree = {"candidate": WINNER, "draws": 5, "similarity": 0.118, "images": images}
    _write(folder / "explanations.json", tree)


def _synthetic_image(seed: int, size: tuple[int, int]) -> Image.Image:
    """Return a synthetic picture in pink and violet."""
    noise = np.random.default_rng(seed).uniform(0, 255, (23, 35)).astype("uint8")
    share = np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))[..., None] / 255
    pink, violet = np.array([236, 180, 210]), np.array([110, 60, 140])
    return Image.fromarray((pink + (violet - pink) * share**2).astype("uint8"))


def _write_search(folder: Path) -> None:
    generator = np.random.default_rng(3)
    trials = pd.DataFrame(
        {
            "trial": range(10),
            "source": ["paper", *["bayesian"] * 9],
            "state": ["completed"] * 9 + ["failed"],
            "learning_rate": [0.001, *10 ** generator.uniform(-4, -1, 9)],
            "momentum": [0.9, *generator.uniform(0.5, 0.99, 9)],
            "val_loss": [*generator.uniform(0.35, 0.7, 9), None],
            "error": [""] * 9 + ["the loss became NaN"],
        }
    )
    summary = {
        "candidate": "mobilenet",
        "method": "bayesian",
        "objective": "val_loss",
        "values": {"learning_rate": 0.0123, "momentum": 0.87},
        "trial": 4,
        "score": 0.36,
        "paper_score": 0.41,
        "trials": 10,
        "failed": 1,
    }
    _write(folder / "summary.json", summary)
    trials.to_csv(folder / "trials.csv", index=False)
    dots = "".join(
        f'<circle cx="{60 + 60 * number}" cy="{400 - 500 * loss:.0f}" r="6"/>'
        for number, loss in enumerate(trials["val_loss"][:9])
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" width="640">{dots}</svg>'
    (folder / "optimization_history.svg").write_text(svg, encoding="utf-8")


def _write(file: Path, tree: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(tree), encoding="utf-8")
