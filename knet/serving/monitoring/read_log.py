"""Reads request logs back."""

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

MEASURED: Final = (schema_names.WIDTH, schema_names.HEIGHT, *schema_names.IMAGE_SCALARS)


@dataclass(frozen=True)
class BrokenLine:
    """A line that is no answer of a model."""

    file: Path
    line: int  # from 1
    reason: str


@dataclass(frozen=True)
class LoggedRequests:
    """What was read."""

    # A row an answer, in the order of time; columns as RequestLog writes them, those of MEASURED NaN where
    # the image was not measured.
    frame: Any
    broken: tuple[BrokenLine, ...]

    def of_version(self, version: int | None) -> LoggedRequests:
        """The answers of one version alone, or of all.

        Raises:
            UserError: there is none; the text names the versions that there are.
        """
        if version is None:
            return self
        frame = self.frame[self.frame["version"] == version]
        if frame.empty:
            known = ", ".join(map(str, sorted(self.frame["version"].unique())))
            raise UserError(f"--version {version}: no request in the log was answered by it, but by {known}")
        return LoggedRequests(frame, self.broken)


class _Line(BaseModel):
    """What each line must have, beside what was measured of the image."""

    model_config = ConfigDict(extra="allow")

    time: datetime
    version: int
    image_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    patient: str | None
    label: str
    score: Annotated[float, Field(ge=0, le=1)]
    distance: float
    in_distribution: bool
    reasons: list[str]
    unusable: str | None
    __pydantic_extra__: dict[str, FiniteFloat]


def read_log(places: Sequence[Path]) -> LoggedRequests:
    """Reads logs: files, and folders of files.

    Raises:
        UserError: one is missing, or there is no answer in any.
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
        raise UserError(f"no request in {named}: {len(broken)} broken lines and no other{first}")
    frame = pd.DataFrame(rows).sort_values("time", kind="stable", ignore_index=True)
    return LoggedRequests(frame, tuple(broken))


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        files = sorted(place.glob(f"*{SUFFIX}"))
        if not files:
            raise UserError(f"no request log in {place}: there is no file *{SUFFIX}")
        return files
    if not place.is_file():
        raise UserError(f"no request log: {place} is missing; name a file, or the folder of a log")
    return [place]


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def _row(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError("cut off")
    answer = _Line.model_validate_json(line.strip())
    row = answer.model_dump()
    values = answer.__pydantic_extra__
    if answer.unusable is None and set(values) != set(MEASURED):
        different = ", ".join(sorted(set(values) ^ set(MEASURED)))
        raise ValueError(f"measured otherwise than by this version: {different}")
    return {**row, **{name: values.get(name) for name in MEASURED}}


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
    return str(error)
