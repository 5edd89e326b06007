"""Writes a configuration."""

from __future__ import annotations

import yaml

from pipeline.config.config import Config


def dump_config(config: Config) -> str:
    """The configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
