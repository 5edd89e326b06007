"""Judges request logs, version by version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import UserError
from serving.monitoring.judge_requests import Judgement, judge_requests
from serving.monitoring.read_log import BrokenLine, LoggedRequests
from serving.monitoring.reference import Reference

_LISTED: Final = 10  # broken lines


@dataclass(frozen=True)
class Monitored:
    """What came of a log."""

    judgements: tuple[Judgement, ...]  # the newest version first
    too_few: dict[int, int]  # images by version, of those that were not judged
    broken: tuple[BrokenLine, ...]

    @property
    def drifted(self) -> bool:
        """Whether anything was found of any version."""
        return any(judgement.findings for judgement in self.judgements)

    @property
    def lines(self) -> list[str]:
        """What a table of the versions does not show, in words."""
        findings = [
            f"version {judgement.version}: {finding}"
            for judgement in self.judgements
            for finding in judgement.findings
        ]
        few = [
            f"version {version}: not judged, {count} measured images are too few"
            for version, count in self.too_few.items()
        ]
        broken = [f"broken line: {line.file}:{line.line}: {line.reason}" for line in self.broken[:_LISTED]]
        more = len(self.broken) - len(broken)
        return [*findings, *few, *broken, *([f"and {more} more broken lines"] if more else [])]


def monitor(
    logged: LoggedRequests,
    *,
    reference_of: Callable[[int], Reference],
    schema: schema_pb2.Schema,
    least: int,
    doubted_limit: float,
    earlier: LoggedRequests | None = None,
) -> Monitored:
    """Judges every version with enough images.

    Args:
        logged: the log.
        reference_of: what a version is compared with.
        schema: of ingested images.
        least: measured images of a version, and of the earlier log.
        doubted_limit: the share of images out of distribution that is still well.
        earlier: a log to look for drift from.

    Raises:
        UserError: no version has enough images, nor the earlier log where there is one.
    """
    if earlier and (count := _measured(earlier.frame)) < least:
        raise UserError(f"too few requests in the earlier log: {_counted(count, least)}")
    versions = {int(version): rows for version, rows in logged.frame.groupby("version")}
    too_few = {version: count for version, rows in versions.items() if (count := _measured(rows)) < least}
    if len(too_few) == len(versions):
        counts = "; ".join(
            f"version {version}: {_counted(count, least)}" for version, count in too_few.items()
        )
        raise UserError(f"too few requests to judge: {counts}; wait for more, or lower --least")
    judged = sorted(set(versions) - set(too_few), reverse=True)
    judgements = [
        judge_requests(
            versions[version],
            reference=reference_of(version),
            schema=schema,
            doubted_limit=doubted_limit,
            earlier=earlier and earlier.frame,
        )
        for version in judged
    ]
    return Monitored(tuple(judgements), too_few, logged.broken)


def _measured(frame: Any) -> int:
    return int(frame["unusable"].isna().sum())


def _counted(count: int, least: int) -> str:
    return f"{count} measured images of at least {least}"
