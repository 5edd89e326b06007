"""The part of the configuration that one candidate's training depends on."""

from __future__ import annotations

from knet.models.backbones import token_count
from knet.models.settings import BackboneName
from knet.training.candidate import Candidate
from knet.training.settings import TrainingConfig
from pipeline.config.config import Config


def candidate_from_config(config: Config, name: BackboneName, *, synthetic_data: bool) -> Candidate:
    """Select a candidate's part of the configuration.

    Args:
        config: the experiment.
        name: one of `config.candidates`.
        synthetic_data: whether the images are the synthetic samples.
    """
    training = config.training
    if config.tuning:  # replaced by its results; in the cache key they would only cause misses
        paper = TrainingConfig()
        unused = {"learning_rate": paper.learning_rate, "momentum": paper.momentum}
        training = training.model_copy(update=unused)
    return Candidate(
        name=name,
        settings=config.candidates[name],
        sequence_length=max(token_count(other, config.image.size) for other in config.candidates),
        image=config.image,
        head=config.head,
        training=training,
        devices=config.devices,
        calibration=config.calibration,
        ood=config.ood,
        seed=config.seed,
        synthetic_data=synthetic_data,
        classes=config.data.classes,
    )
