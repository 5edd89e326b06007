"""The configuration of an experiment, as it may be published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Config


def published_config(config: Config) -> dict[str, Any]:
    """All that decides the figures, as JSON can hold it, without places of files and servers."""
    places = {"source", "root", "schema_file"}
    elsewhere = dict.fromkeys(("output", "metadata", "kubeflow", "beam"), True)
    tree = config.model_dump(mode="json", exclude={**elsewhere, "data": places})
    for candidate in tree["candidates"].values():
        candidate["weights"] = Path(candidate["weights"]).name
    return tree
