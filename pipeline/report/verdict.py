"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.run_record import RunRecord


@dataclass(frozen=True)
class Verdict:
    """In a word, and in a line."""

    word: str  # pushed, refused or failed
    why: str


def verdict(record: RunRecord) -> Verdict:
    """Whether the winner is served, was refused, or the run failed, and why."""
    if record.error:
        return Verdict("failed", record.error)
    if record.pushed_version and not record.refusals:
        return Verdict(
            "pushed",
            f"{record.winner} is served as version {record.pushed_version}: {record.choice}",
        )
    reasons = (
        "; ".join(record.refusals) or "the server that was asked before the push did not answer as it must"
    )
    return Verdict("refused", f"{record.winner} was not pushed: {reasons}")
