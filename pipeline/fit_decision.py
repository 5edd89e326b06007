"""What is fitted to a trained model before it is exported: how it decides, and about which images."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import keras
import numpy as np

from pipeline.calibration.calibrate import calibrate
from pipeline.calibration.calibration import Calibration
from pipeline.errors import UserError
from pipeline.learner import Learner
from pipeline.models.model_outputs import model_outputs
from pipeline.ood.class_gaussians import ClassGaussians
from pipeline.ood.image_limits import ImageLimits, Measured
from pipeline.progress import PROGRESS


@dataclass(frozen=True)
class Decision:
    """What stands between a model's logits and its answer."""

    calibration: Calibration
    gaussians: ClassGaussians
    limits: ImageLimits
    rejected: dict[str, float]  # the share of a split's images that are beyond the limits


def fit_decision(model: keras.Model, learner: Learner, *, batch_size: int) -> Decision:
    """Looks once at every image of both splits, as it is, and fits (docs/calibration.md).

    Args:
        model: the final one, in float32.
        learner: has the settings and both splits. Train fits the Gaussians and the limits on the pixels,
            validation temperature, threshold and the largest distance.
        batch_size: images that are computed at once.

    Raises:
        UserError: the model gives undefined values.
    """
    candidate = learner.candidate
    splits = {"train": learner.images, "validation": learner.validation_images}
    count = sum(split.count for split in splits.values())
    logging.getLogger(PROGRESS).info("the final model looks at %d train and validation images", count)
    outputs = model_outputs(
        model, {name: split.batches(batch_size=batch_size) for name, split in splits.items()}
    )
    for name in splits:
        if not (np.isfinite(outputs[name].logits).all() and np.isfinite(outputs[name].vectors).all()):
            raise UserError(
                f"training {candidate.name}: the trained model gives undefined values on {name} images; "
                "lower training.learning_rate"
            )
    gaussians = ClassGaussians.fit(outputs["train"].vectors, outputs["train"].labels)
    measured = {
        name: Measured(*split.quality(), gaussians.distances(outputs[name].vectors))
        for name, split in splits.items()
    }
    limits = ImageLimits.fit(
        measured["train"], measured["validation"], false_reject_rate=candidate.ood.false_reject_rate
    )
    return Decision(
        calibration=calibrate(
            outputs["validation"].logits, outputs["validation"].labels, settings=candidate.calibration
        ),
        gaussians=gaussians,
        limits=limits,
        rejected={name: float(limits.rejects(images).mean()) for name, images in measured.items()},
    )
