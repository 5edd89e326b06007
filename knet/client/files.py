"""Predictions for image files, in memory or in a CSV file that an interrupted command resumes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from knet.base.errors import UserError
from knet.base.files import atomic_write, check_regular
from knet.base.text import printable
from knet.client.client import Client
from knet.client.images import FailedPrediction, read_content
from knet.client.results import Prediction

COLUMNS: Final[tuple[str, ...]] = (
    "image",
    "sha256",
    "label",
    "score",
    "threshold",
    "in_distribution",
    "reasons",
    "distance",
    "model_version",
    "probabilities",
    "error",
)
_COLUMNS_WITH_GROUP: Final = (*COLUMNS, "positive_score", "positive")


@dataclass(frozen=True)
class FilePrediction:
    """The result for one image file.

    Attributes:
        image: Name of the file, by `file_name`.
        sha256: SHA-256 of its content, in hexadecimal; empty if the file could not be read.
        result: The prediction, or the reason why there is none.
    """

    image: str
    sha256: str
    result: Prediction | FailedPrediction

    @property
    def columns(self) -> tuple[str, ...]:
        """`COLUMNS`, then `positive_score` and `positive` if the model has a positive group of classes."""
        has_group = isinstance(self.result, Prediction) and self.result.positive_score is not None
        return _COLUMNS_WITH_GROUP if has_group else COLUMNS

    def as_row(self) -> dict[str, str]:
        """Return a text for each of `columns`: those of the prediction, or `error`."""
        row = dict.fromkeys(self.columns, "") | {"image": self.image, "sha256": self.sha256}
        if isinstance(self.result, FailedPrediction):
            return row | {"error": " ".join(self.result.reason.split())}
        return row | {name: csv_cell(value) for name, value in self._fields(self.result).items()}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> FilePrediction:
        """Parse a row that `as_row` returned.

        Raises:
            ValueError: A cell is malformed.
            KeyError: A cell is missing or not among the allowed ones.
        """
        return cls(row["image"], row["sha256"], _parse_result(row))

    def as_json(self) -> dict[str, Any]:
        """Return `image`, `sha256`, and the fields of the prediction or `error`."""
        if isinstance(self.result, FailedPrediction):
            return {"image": self.image, "sha256": self.sha256, "error": self.result.reason}
        return {"image": self.image, "sha256": self.sha256, **self._fields(self.result)}

    def _fields(self, result: Prediction) -> dict[str, Any]:
        fields = asdict(result) | {"positive": result.positive}
        return {name: value for name, value in fields.items() if name in self.columns}


def csv_cell(value: Any) -> str:
    """Return the text of a value in CSV: of a mapping JSON, of None an empty one."""
    if isinstance(value, tuple):
        return "; ".join(value)
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _parse_result(row: Mapping[str, str]) -> Prediction | FailedPrediction:
    if row["error"]:
        return FailedPrediction(row["error"])
    return Prediction(
        label=row["label"],
        score=float(row["score"]),
        probabilities=json.loads(row["probabilities"]),
        model_version=int(row["model_version"]),
        in_distribution={"true": True, "false": False}[row["in_distribution"]],
        reasons=tuple(filter(None, row["reasons"].split("; "))),
        distance=float(row["distance"]),
        threshold=float(row["threshold"]) if row["threshold"] else None,
        positive_score=float(row["positive_score"]) if row.get("positive_score") else None,
    )


def file_name(file: Path) -> str:
    """Return a file's path as it was given, with unprintable characters escaped."""
    return printable(os.fspath(file))


def predict_files(client: Client, files: Iterable[Path]) -> Iterator[FilePrediction]:
    """Classify image files, of which few are in memory at a time.

    Args:
        client: Client of the served model.
        files: Image files, of any number.

    Yields:
        A result for each file, in order; failed ones included.

    Raises:
        UserError: The server cannot be used, as for `Client.predict_each`.
    """
    requested: deque[tuple[str, str]] = deque()

    def images() -> Iterator[bytes | FailedPrediction]:
        for file in files:
            content = read_content(file)
            requested.append((file_name(file), _digest(content)))
            yield content

    for result in client.predict_each(images()):
        yield FilePrediction(*requested.popleft(), result)


def _digest(content: bytes | FailedPrediction) -> str:
    return "" if isinstance(content, FailedPrediction) else hashlib.sha256(content).hexdigest()


def predict_to_csv(
    client: Client,
    files: Sequence[Path],
    table: Path,
    *,
    on_result: Callable[[FilePrediction, int], None] | None = None,
) -> list[FilePrediction]:
    """Classify image files and append a row for each to a CSV file, as results come in.

    A file that has a row is skipped if its content is unchanged, even if the server rejected it. Files that
    have changed or could not be read are requested again. Rows of other files stay.

    Args:
        client: Client of the served model.
        files: Image files.
        table: CSV file, created if it does not exist.
        on_result: Called with each new result and the number of remaining files, before the row is written.

    Returns:
        A result for each file, in order, from earlier rows too.

    Raises:
        UserError: The server cannot be used, or the CSV file has other content or cannot be written.
    """
    rows = PredictionsCsv(table)
    named = {file_name(file): file for file in files}
    remaining = [file for name, file in named.items() if not _is_done(file, rows.predictions.get(name))]
    rows.remove(map(file_name, remaining))
    for number, result in enumerate(predict_files(client, remaining), start=1):
        if on_result:
            on_result(result, len(remaining) - number)
        rows.append(result)
    return [rows.predictions[name] for name in named]


def _is_done(file: Path, prediction: FilePrediction | None) -> bool:
    return bool(prediction and prediction.sha256 and prediction.sha256 == _digest(read_content(file)))


class PredictionsCsv:
    """A CSV file of predictions to which rows are appended.

    Each row is one line, written at once; an incomplete last line of an interrupted process is ignored. If a
    file has several rows, the last one counts. The first prediction with a positive group adds its columns.

    Attributes:
        predictions: Results in the file, by name of the image.
    """

    def __init__(self, file: Path) -> None:
        """Read a CSV file, if it exists.

        Raises:
            UserError: The file has other content or cannot be read.
        """
        self._file = file.resolve()  # an atomic write would replace a link
        self._columns = COLUMNS
        lines = self._complete_lines().split("\n")[1:-1]
        rows = [self._parse(number, line) for number, line in enumerate(lines, start=2)]
        self.predictions = {row.image: row for row in rows}

    def remove(self, names: Iterable[str]) -> None:
        """Remove the rows of some images from the file, which is created if it does not exist.

        Args:
            names: Names of images, which may have no row.

        Raises:
            UserError: The file cannot be written.
        """
        for name in names:
            self.predictions.pop(name, None)
        self._rewrite()

    def append(self, prediction: FilePrediction) -> None:
        """Append a row.

        Raises:
            UserError: The file cannot be written.
        """
        if not set(prediction.columns) <= set(self._columns):
            self._columns = prediction.columns
            self._rewrite()
        self.predictions[prediction.image] = prediction
        try:
            with self._file.open("ab", buffering=0) as file:
                file.write(self._line(prediction).encode())
        except OSError as error:
            raise self._file_error(error) from error

    def _rewrite(self) -> None:
        text = _line(self._columns) + "".join(map(self._line, self.predictions.values()))
        try:
            if not self._file.is_file() or self._file.read_bytes() != text.encode():
                atomic_write(self._file, text)
        except OSError as error:
            raise self._file_error(error) from error

    def _line(self, prediction: FilePrediction) -> str:
        row = prediction.as_row()
        return _line(row.get(name, "") for name in self._columns)

    def _complete_lines(self) -> str:
        if not self._file.exists():
            return ""
        try:
            check_regular(self._file)
            data = self._file.read_bytes()
        except OSError as error:
            raise self._file_error(error) from error
        headers = {columns: _line(columns).encode() for columns in (COLUMNS, _COLUMNS_WITH_GROUP)}
        for columns, header in headers.items():
            if data.startswith(header) or header.startswith(data):
                self._columns = columns
                return data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")
        raise UserError(f"{self._file} is not a CSV file of predictions: give another file")

    def _parse(self, number: int, line: str) -> FilePrediction:
        try:
            (cells,) = csv.reader([line], strict=True)
            return FilePrediction.from_row(dict(zip(self._columns, cells, strict=True)))
        except (csv.Error, ValueError, KeyError) as error:
            raise UserError(
                f"{self._file}, line {number}: not a row of predictions ({error}); delete the line, or give "
                "another file"
            ) from error

    def _file_error(self, error: OSError) -> UserError:
        return UserError(f"{self._file}: {error.strerror}; give a file that can be written")


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
