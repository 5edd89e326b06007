"""The way from data to a served model."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.digest import text_digest
from pipeline.run_record import RunRecord


@dataclass(frozen=True)
class Step:
    """Something on the way, and what identifies it."""

    what: str
    value: str
    note: str = ""


def lineage_steps(record: RunRecord) -> list[Step]:
    """From the data of a run to the version it pushed, as far as it came."""
    data = record.data
    steps = [
        Step("data", data.fingerprint, f"{data.source}, span {data.span}"),
        Step("split", data.split_sha256, f"{sum(data.patients.values())} patients"),
        Step("configuration", text_digest(repr(record.config)), record.name),
        Step("run", record.run_id, record.started),
    ]
    winner = record.candidates.get(record.winner) if record.winner else None
    if winner:
        info = winner.info
        steps += [
            Step("candidate", info.candidate, f"from {info.weights} weights, seed {info.seed}"),
            Step("train and validation examples", info.examples_sha256, f"{info.train_images} for training"),
            Step("settings", info.candidate_sha256),
            Step("code", info.code_sha256, "with the versions of its libraries"),
            Step("commit", info.commit or "unknown", "" if info.commit else "the code was no checkout"),
        ]
    pushed = record.pushed_version
    steps.append(Step("served version", pushed or "none", record.pushed_folder or ""))
    return steps
