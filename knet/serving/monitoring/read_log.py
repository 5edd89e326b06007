"""Reads request logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.monitoring.request_log import SUFFIX

# Features measured of a served image, as of an ingested example.
MEASURED: Final = (schema_names.WIDTH, schema_names.HEIGHT, *schema_names.IMAGE_SCALARS)


@dataclass(frozen=True)
class BrokenLine:
    """A line that is not a valid log entry."""

    file: Path
    line: int  # from 1
    reason: str


@dataclass(frozen=True)
class LoggedRequests:
    """Entries of request logs."""

    # One row per prediction, in order of time, with the fields of RequestLog as columns. The columns of
    # MEASURED are NaN for images that were not measured.
    frame: Any
    broken: tuple[BrokenLine, ...]

    def of_version(self, version: int | None) -> LoggedRequests:
        """The entries of one version; None returns all.

        Raises:
            UserError: the version has no entry; the error names the versions that have.
        """
        if version is None:
            return self
        frame = self.frame[self.frame["version"] == version]
        if frame.empty:
            known = ", ".join(map(str, sorted(self.frame["version"].unique())))
            raise UserError(f"--version {version}: the log has no request of this version, but of {known}")
        return LoggedRequests(frame, self.broken)


_Probability = Annotated[float, Field(ge=0, le=1)]


class _Line(BaseModel):
    """Fields of a line but the measured features, which are extra ones."""

    model_config = ConfigDict(extra="allow")

    time: datetime
    version: int
    image_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    patient: str | None
    label: str
    score: _Probability
    probabilities: dict[str, _Probability] | None = None  # by class, of more than two
    positive_score: _Probability | None = None  # of their positive group
    distance: float
    in_distribution: bool
    reasons: list[str]
    unusable: str | None
    __pydantic_extra__: dict[str, FiniteFloat]


def read_log(places: Sequence[Path]) -> LoggedRequests:
    """Read logs.

    Args:
        places: log files, and folders of them; a file is read once.

    Raises:
        UserError: a file is missing, or there is no valid line.
    """
    rows: list[dict[str, Any]] = []
    broken: list[BrokenLine] = []
    for file in dict.fromkeys(file for place in places for file in _files(place)):
        for number, line in _lines(file):
            try:
                rows.append(_row(line))
            except ValueError as error:
                broken.append(BrokenLine(file, number, _reason(error)))
    if not rows:
        named = ", ".join(map(str, places))
        first = f"; {broken[0].file}:{broken[0].line}: {broken[0].reason}" if broken else ""
        raise UserError(f"no request in {named}: {len(broken)} broken lines and no valid one{first}")
    frame = pd.DataFrame(rows).sort_values("time", kind="stable", ignore_index=True)
    return LoggedRequests(frame, tuple(broken))


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        files = sorted(place.glob(f"*{SUFFIX}"))
        if not files:
            raise UserError(f"no request log in {place}: there is no file *{SUFFIX}")
        return files
    if not place.is_file():
        raise UserError(f"no request log: {place} is missing; name a log file, or its folder")
    return [place]


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def _row(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError("truncated")
    entry = _Line.model_validate_json(line.strip())
    row = entry.model_dump()
    values = entry.__pydantic_extra__
    if entry.unusable is None and set(values) != set(MEASURED):
        different = ", ".join(sorted(set(values) ^ set(MEASURED)))
        raise ValueError(f"measured features differ from those of this release: {different}")
    return {**row, **{name: values.get(name) for name in MEASURED}}


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
    return str(error)
