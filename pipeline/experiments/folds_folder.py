"""Folder of a cross-validation's results, and the settings that it belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from knet.base.errors import UserError
from knet.base.files import atomic_write, read_json
from knet.report.compare import config_differences
from pipeline.config.config import Config
from pipeline.experiments.provenance import published_config

PROBE: Final = "probe"  # name of the linear probe among the candidates
DEFAULT_FOLDS: Final = 5
_SETTINGS: Final = "settings.json"  # in the folder of the results


def results_folder(config: Config) -> Path:
    """Return the folder of the results of cross-validations with this output."""
    return config.output / "folds"


def check_options(config: Config, *, probe: str | None, baseline: str | None) -> None:
    """Check the candidates that options name, before anything is trained.

    Args:
        config: the configuration.
        probe: candidate whose frozen backbone gets a linear probe.
        baseline: candidate that the others are compared with, or the probe.

    Raises:
        UserError: a name is unknown, the probe's backbone is untrained, or a split file is set.
    """
    names = list(config.candidates)
    if config.data.split.file is not None:
        raise UserError("data.split.file: a cross-validation makes its own splits; set data.split.file=null")
    if probe is not None and probe not in names:
        raise UserError(f"--probe {probe}: no such candidate; name one of {', '.join(names)}")
    if probe is not None and config.candidates[probe].weights == "none":
        raise UserError(f"--probe {probe}: its weights are random; name a candidate with trained weights")
    if probe is not None and PROBE in names:
        raise UserError(f"candidates.{PROBE}: the linear probe has this name; rename the candidate")
    compared = [*names, PROBE] if probe else names
    if baseline is not None and baseline not in compared:
        raise UserError(f"--baseline {baseline}: no such candidate; name one of {', '.join(compared)}")


def claim_results(config: Config, *, folds: int, probe: str | None, fingerprint: str) -> None:
    """Begin a cross-validation in the folder of its results, or continue one with the same settings.

    Args:
        config: the configuration.
        folds: number of folds.
        probe: candidate whose frozen backbone gets a linear probe.
        fingerprint: of the data.

    Raises:
        UserError: the folder holds a cross-validation with other settings, or something else.
    """
    folder = results_folder(config)
    file = folder / _SETTINGS
    remedy = f"set another output, or delete {folder} (completed trainings stay cached)"
    settings = {
        "images": fingerprint,
        "--folds": folds,
        "--probe": probe,
        **published_config(config),
    }
    for field in ("folds", "fold", "test_share"):  # which --folds replaces
        del settings["data"]["split"][field]
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not file.is_file()):
        raise UserError(
            f"output: {folder} is not the result of a cross-validation; move it, or set another output"
        )
    former = read_json(file, remedy=remedy)
    if former is None:
        atomic_write(file, json.dumps(settings, indent=1) + "\n")
        return
    for name, (before, now) in config_differences([former, json.loads(json.dumps(settings))]).items():
        which = "of other images" if name == "images" else f"with {name}={before}, now {now}"
        raise UserError(f"output: {folder} holds a cross-validation {which}; {remedy}")
