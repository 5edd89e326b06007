"""The part of the configuration that one candidate's training depends on."""

from __future__ import annotations

from knet.models.backbones import token_count
from knet.models.settings import BackboneConfig
from knet.training.candidate import Candidate
from knet.training.settings import TrainingConfig
from knet.tuning.settings import REPLACED
from pipeline.config.config import Config


def candidate_from_config(config: Config, name: str, *, synthetic_data: bool) -> Candidate:
    """Select a candidate's part of the configuration.

    Args:
        config: the experiment.
        name: one of `config.candidates`.
        synthetic_data: whether the images are the synthetic samples.
    """
    candidate, own = config.candidates[name], config.for_candidate(name)
    training = own.training
    if config.tuning:  # replaced by its results; in the cache key they would only cause misses
        paper = TrainingConfig()
        searched = config.tuning.for_optimizer(training.optimizer).ranges
        unused = {field: getattr(paper, field) for field in REPLACED if field in searched}
        training = training.model_copy(update=unused)
    return Candidate(
        name=name,
        settings=BackboneConfig(
            backbone=candidate.backbone or name,
            **candidate.model_dump(include={"weights", "alpha", "block_rates"}),
        ),
        sequence_length=max(
            token_count(settings.backbone or other, config.for_candidate(other).image.size, candidate=other)
            for other, settings in config.candidates.items()
        ),
        image=own.image,
        head=own.head,
        training=training,
        devices=config.devices,
        calibration=config.calibration,
        ood=config.ood,
        seed=config.seed,
        synthetic_data=synthetic_data,
        classes=config.data.classes,
        positive=config.data.positive or (),
    )
