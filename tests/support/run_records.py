"""The factory of synthetic run records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from knet.models.calibration import Calibration
from knet.models.model_info import ModelInfo
from knet.models.out_of_distribution import ImageLimits
from knet.models.reliability import Reliability, ReliabilityBin
from knet.runs.record import CandidateRecord, Data, NodeRecord, RunRecord
from pipeline.config.load import load_config

FINGERPRINT, SPLIT_SHA256 = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def run_record(**changes: Any) -> RunRecord:
    """Return the record of a run that pushed its winner, with some fields changed."""
    record = RunRecord(
        run_id="20240131-120000",
        name="knet-demo",
        started="2024-01-31T12:00:00+00:00",
        data=Data(
            source=Path("/data/BreaKHis_v1"),
            root=None,
            fingerprint=FINGERPRINT,
            span=2,
            synthetic=False,
            patients={"train": 14, "validation": 4, "test": 6},
            images={"train": 60, "validation": 16, "test": 24},
            columns=("magnification", "subtype"),
            excluded_duplicates=0,
            split_sha256=SPLIT_SHA256,
            split_notes=("subtype adenosis: 2 patients, too few for three splits; none in test",),
        ),
        config=load_config("demo").model_dump(mode="json"),
        nodes=(NodeRecord("Transform", "done", 12.34), NodeRecord("Pusher", "cached", 0.0)),
        candidates={"mobilenet": _candidate("mobilenet", 0.875), "vgg16": _candidate("vgg16", 0.5)},
        metric="accuracy",
        winner="mobilenet",
        pushed_version="1706702400",
        pushed_folder="runs/demo/serving/knet/1706702400",
    )
    return replace(record, **changes)


def _candidate(name: str, accuracy: float) -> CandidateRecord:
    metrics = {
        "accuracy": accuracy,
        "balanced_accuracy": 0.5,
        "roc_auc": 0.625,
        "patient_recognition_rate": 0.75,
    }
    intervals = {split: dict.fromkeys(metrics, (0.25, 0.95)) for split in ("validation", "test")}
    return CandidateRecord(
        model_info(name), {"validation": metrics, "test": {**metrics, "roc_auc": 0.75}}, intervals
    )


def model_info(candidate: str = "mobilenet", **changes: Any) -> ModelInfo:
    """Return the description of a trained candidate, with some fields changed."""
    bins = [ReliabilityBin(low / 10, low / 10 + 0.1, 0, None, None) for low in range(9)]
    reliability = Reliability(0.25, 0.125, 0.0625, (*bins, ReliabilityBin(0.9, 1.0, 12, 0.9375, 0.875)))
    info = ModelInfo(
        candidate=candidate,
        weights="imagenet",
        classes=("benign", "malignant"),
        image_size=64,
        parameters=1234567,
        flops=2_500_000,
        train_images=40,
        validation_images=12,
        epochs=3,
        learning_rate=0.01,
        momentum=0.9,
        seconds=61.4,
        calibration=Calibration(1.5, 0.4, ((5, 1), (0, 6)), before=reliability, after=reliability),
        image_limits=ImageLimits(0.05, 40.0, 4000.0, 20.5),
        rejected={"train": 0.0, "validation": 0.05},
        device="CPU",
        seed=0,
        synthetic_data=False,
        fingerprint=FINGERPRINT,
        split_sha256=SPLIT_SHA256,
        examples_sha256="00112233" * 8,
        candidate_sha256="44556677" * 8,
        code_sha256="8899aabb" * 8,
        commit=None,
    )
    return replace(info, **changes)
