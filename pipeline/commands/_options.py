"""The options by which commands find their configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipeline.config import Config

PRESETS = ("demo", "paper", "production")  # of pipeline.config, which takes longer to import than --help may


def configured(function: click.decorators.FC) -> click.decorators.FC:
    """The options by which every command finds its configuration."""
    for option in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field."),
        click.option(
            "--config", "file", type=click.Path(path_type=Path), help="A YAML file instead of a preset."
        ),
        click.option("--preset", type=click.Choice(PRESETS), default="demo", show_default=True),
    ):
        function = option(function)
    return function


def load(preset: str, file: Path | None, overrides: Sequence[str]) -> Config:
    """The configuration that `configured` options name."""
    from pipeline.config import load_config

    return load_config(file or preset, overrides)


def with_source(config: Config, data: Path) -> Config:
    """The same, of other images."""
    return config.model_copy(update={"data": config.data.model_copy(update={"source": data})})
