"""Which searches for hyperparameters a configuration asks for."""

from __future__ import annotations

from pipeline.config import BackboneName, Config


def searched_backbones(config: Config) -> list[BackboneName]:
    """Those that a search is made on."""
    if config.tuning is None:
        return []
    return list(config.candidates) if config.tuning.scope == "backbone" else [config.tuning.backbone]


def tuner_id(config: Config, backbone: str) -> str:
    """The name of the node that searches on a backbone."""
    return f"Tuner-{backbone}" if config.tuning and config.tuning.scope == "backbone" else "Tuner"
