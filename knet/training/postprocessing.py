"""Postprocessing: temperature, threshold and out-of-distribution detection fitted to a trained model."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import keras
import numpy as np

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.models.calibration import Calibration, calibrate
from knet.models.export import model_outputs
from knet.models.out_of_distribution import ClassGaussians, ImageLimits, ImageMeasurements
from knet.training.training_setup import TrainingSetup


@dataclass(frozen=True)
class Postprocessing:
    """Fitted steps from a model's logits and embeddings to its outputs."""

    calibration: Calibration  # temperature and threshold
    gaussians: ClassGaussians  # of the embeddings, for out-of-distribution detection
    limits: ImageLimits
    rejected: dict[str, float]  # fraction of the images beyond the limits, by split


def fit_postprocessing(model: keras.Model, setup: TrainingSetup, *, batch_size: int) -> Postprocessing:
    """Fit calibration and out-of-distribution detection (docs/calibration.md).

    Every image of both splits is inferred once, without augmentation.

    Args:
        model: the final model, in float32.
        setup: has settings and splits. Gaussians and limits on tissue and sharpness are fitted on train;
            temperature, threshold and the maximal distance on validation.
        batch_size: images per inference batch.

    Raises:
        UserError: logits or embeddings are not finite.
    """
    candidate = setup.candidate
    splits = {schema_names.TRAIN: setup.raw_train, schema_names.VALIDATION: setup.raw_validation}
    count = sum(split.count for split in splits.values())
    logging.getLogger(PROGRESS).info("inferring %d train and validation images for calibration", count)
    outputs = model_outputs(
        model, {name: split.batches(batch_size=batch_size) for name, split in splits.items()}
    )
    for name in splits:
        if not (np.isfinite(outputs[name].logits).all() and np.isfinite(outputs[name].embeddings).all()):
            raise UserError(
                f"training {candidate.name}: the trained model gives undefined values on {name} images; "
                "lower training.learning_rate"
            )
    gaussians = ClassGaussians.fit(outputs[schema_names.TRAIN].embeddings, outputs[schema_names.TRAIN].labels)
    measured = {
        name: ImageMeasurements(*split.quality(), gaussians.distances(outputs[name].embeddings))
        for name, split in splits.items()
    }
    limits = ImageLimits.fit(
        measured[schema_names.TRAIN],
        measured[schema_names.VALIDATION],
        false_reject_rate=candidate.ood.false_reject_rate,
    )
    return Postprocessing(
        calibration=calibrate(
            outputs[schema_names.VALIDATION].logits,
            outputs[schema_names.VALIDATION].labels,
            settings=candidate.calibration,
            positive=candidate.positive_labels,
        ),
        gaussians=gaussians,
        limits=limits,
        rejected={name: float(limits.rejects(images).mean()) for name, images in measured.items()},
    )
