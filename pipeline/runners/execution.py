"""What a node of a run gave, whoever ran it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OutputArtifact:
    """Where an artifact lies, and the properties its executor gave it."""

    id: int | str  # in the runner's own metadata
    uri: Path  # to read it from
    properties: dict[str, Any]
    remote: str | None = None  # its place in an object store, where the path is that of a copy


@dataclass(frozen=True)
class Execution:
    """How an execution ended and what it put out, by output name."""

    id: int | str  # likewise
    cached: bool
    outputs: dict[str, OutputArtifact]
