"""What a run begins with: settings, data, and what earlier runs left for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from pipeline.config import Config
from pipeline.digest import text_digest
from pipeline.registry import KeptPredictions, KeptStatistics, KeptTrials, RunRegistry
from pipeline.run_record import Data
from pipeline.searches import searched_backbones


@dataclass(frozen=True)
class Remembered:
    """What the graph is built with; nothing where it is not asked for."""

    statistics: KeptStatistics | None = None  # to look for drift from
    trials: dict[str, KeptTrials] = field(default_factory=dict)  # by backbone, for searches to begin with


@dataclass(frozen=True)
class Beginning:
    """All that the record of a run needs beside what the nodes give."""

    run_id: str
    started: str  # ISO 8601, UTC
    config: Config  # with the columns to slice by
    data: Data
    schema: Path  # that the data are held to
    graph: str  # digest of all that decides which model wins
    remembered: Remembered
    baseline: KeptPredictions | None  # of the model in production, to compare the winner with

    def to_json(self) -> str:
        """Text that `read_beginning` reads."""
        from pydantic import TypeAdapter

        return TypeAdapter(Beginning).dump_json(self, indent=2).decode()


def read_beginning(text: str | bytes) -> Beginning:
    """Reads what `to_json` made."""
    from pydantic import TypeAdapter

    return TypeAdapter(Beginning).validate_json(text)


def remember(registry: RunRegistry, config: Config, data: Data) -> Remembered:
    """What earlier runs left, as far as the configuration asks for it."""
    kept: dict[str, KeptTrials | None] = {}
    if config.tuning and config.tuning.warm_start:
        search = search_digest(config, data)
        kept = {n: registry.trials_before(backbone=n, search=search) for n in searched_backbones(config)}
    return Remembered(
        statistics=registry.previous_statistics() if config.data_gate.drift else None,
        trials={name: trials for name, trials in kept.items() if trials},
    )


def begin(
    registry: RunRegistry, config: Config, data: Data, *, remembered: Remembered, schema: Path, graph: str
) -> Beginning:
    """Gives a run its id, and finds what its winner is to be compared with."""
    started = datetime.now(timezone.utc)
    return Beginning(
        run_id=started.strftime("%Y%m%d-%H%M%S-%f"),
        started=started.isoformat(timespec="seconds"),
        config=config,
        data=data,
        schema=schema,
        graph=graph,
        remembered=remembered,
        baseline=None if config.gate.margin is None else registry.baseline(graph),
    )


def search_digest(config: Config, data: Data) -> str:
    """A digest of what a search depends on, but earlier searches: with another one it is another search."""
    sections = {"seed", "image", "candidates", "head", "training", "devices", "tuning"}
    return text_digest(config.model_dump_json(include=sections), data.fingerprint, data.split_sha256)
