"""Origin of an experiment's results: the settings, and the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from pipeline.config.config import Config


def host_description() -> str:
    """Return usable cores and processor, such as `2 cores of AMD EPYC`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} core{'' if cores == 1 else 's'} of {names[0] if names else platform.machine()}"


def published_config(config: Config) -> dict[str, Any]:
    """Return the settings that trainings and their metrics depend on, as JSON.

    Locations of files and servers, selection, gate and report are left out.
    """
    locations = {"source", "root", "schema_file"}
    others = ("output", "metadata", "kubeflow", "beam", "selection", "gate", "report")
    tree = config.model_dump(mode="json", exclude={**dict.fromkeys(others, True), "data": locations})
    for candidate in tree["candidates"].values():
        candidate["weights"] = Path(candidate["weights"]).name
    return tree
