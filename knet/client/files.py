"""Asks about files, and keeps what is known of them beside the answers."""

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
from knet.base.files import atomic_write
from knet.base.text import printable
from knet.client.client import Client
from knet.client.images import FailedPrediction, read_image
from knet.client.results import Prediction


def predict_files(client: Client, files: Iterable[Path]) -> Iterator[FilePrediction]:
    """An answer a file, in their order; however many there are, few are held in memory.

    Raises what the client raises; a file that cannot be read or is refused does not end it.
    """
    asked: deque[tuple[str, str]] = deque()

    def images() -> Iterator[bytes | FailedPrediction]:
        for file in files:
            image = read_image(file)
            asked.append((file_name(file), digest(image)))
            yield image

    for answer in client.predict_each(images()):
        yield FilePrediction(*asked.popleft(), answer)


def digest(image: bytes | FailedPrediction) -> str:
    """The SHA-256 of what a file holds; empty where it cannot be read."""
    return "" if isinstance(image, FailedPrediction) else hashlib.sha256(image).hexdigest()


COLUMNS: Final = (
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


@dataclass(frozen=True)
class FilePrediction:
    """A file by `file_name`, the SHA-256 of what it held (empty: it could not be read), and what was said."""

    image: str
    sha256: str
    answer: Prediction | FailedPrediction

    def as_row(self) -> dict[str, str]:
        """A text for each of `COLUMNS`: an answer, or an error."""
        row = dict.fromkeys(COLUMNS, "") | {"image": self.image, "sha256": self.sha256}
        if isinstance(self.answer, FailedPrediction):
            return row | {"error": " ".join(self.answer.reason.split())}
        texts = asdict(self.answer) | {
            "in_distribution": str(self.answer.in_distribution).lower(),
            "reasons": "; ".join(self.answer.reasons),
            "probabilities": json.dumps(self.answer.probabilities),
        }
        return row | {name: "" if value is None else str(value) for name, value in texts.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> FilePrediction:
        """What `as_row` was made of; raises ValueError where it was made of nothing."""
        return cls(row["image"], row["sha256"], _answer(row))

    def as_json(self) -> dict[str, Any]:
        """The fields of a prediction, or `error`, below `image` and `sha256`."""
        said = (
            {"error": self.answer.reason}
            if isinstance(self.answer, FailedPrediction)
            else asdict(self.answer)
        )
        return {"image": self.image, "sha256": self.sha256, **said}


def file_name(file: Path) -> str:
    """Its path as it was given; what a terminal or a line of a table cannot show is escaped."""
    return printable(os.fspath(file))


def _answer(row: Mapping[str, str]) -> Prediction | FailedPrediction:
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
    )


class PredictionsCsv:
    """What is there already, and where more is added; a line that a kill cut short counts for nothing.

    Every row is one line and written at once. Of two rows of one file the later holds.
    """

    def __init__(self, file: Path) -> None:
        """Reads it; raises UserError when it holds something else or cannot be read."""
        self._file = file.resolve()  # else a link would be replaced, not what it leads to
        lines = self._read().split("\n")[1:-1]
        rows = [self._answer(number, line) for number, line in enumerate(lines, start=2)]
        self.answers = {answer.image: answer for answer in rows}

    def keep(self, names: Iterable[str]) -> None:
        """Takes out all but these images; makes the file where it is missing."""
        kept = _line(COLUMNS) + "".join(_line(self.answers[name].as_row().values()) for name in names)
        try:
            if not self._file.is_file() or self._file.read_bytes() != kept.encode():
                atomic_write(self._file, kept)
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, answer: FilePrediction) -> None:
        """Appends a row; raises UserError when it cannot be written."""
        try:
            with self._file.open("ab", buffering=0) as file:
                file.write(_line(answer.as_row().values()).encode())
        except OSError as error:
            raise self._refusal(error) from error

    def _read(self) -> str:
        """All lines that are whole."""
        if not self._file.exists():
            return ""
        try:
            data = self._file.read_bytes()
        except OSError as error:
            raise self._refusal(error) from error
        header = _line(COLUMNS).encode()
        if not data.startswith(header) and not header.startswith(data):
            raise UserError(f"{self._file} holds something else than predictions: give another file")
        return data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")

    def _answer(self, number: int, line: str) -> FilePrediction:
        try:
            (cells,) = csv.reader([line], strict=True)
            return FilePrediction.from_row(dict(zip(COLUMNS, cells, strict=True)))
        except (csv.Error, ValueError, KeyError) as error:
            raise UserError(
                f"{self._file}, line {number}: no row of predictions ({error}); take it out, or give "
                "another file"
            ) from error

    def _refusal(self, error: OSError) -> UserError:
        return UserError(f"{self._file}: {error.strerror}; give a file that can be written")


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def predict_to_csv(
    client: Client,
    files: Sequence[Path],
    table: Path,
    *,
    on_answer: Callable[[FilePrediction, int], None] | None = None,
) -> list[FilePrediction]:
    """Adds a row for each file to a CSV file, and returns the answers in the order of the files.

    A file that has a row there already and still holds the same is not asked about again, nor is one that was
    refused; one that could not be read is tried again. Rows of other files stay.

    Args:
        client: whom to ask.
        files: PNG or JPEG files.
        table: made where it is missing.
        on_answer: called with each new answer, and how many are still to come, before its row is written.

    Raises:
        UserError: of the client, or `table` holds something else or cannot be written; what is there stays.
    """
    rows = PredictionsCsv(table)
    answers = dict(rows.answers)
    named = {file_name(file): file for file in files}
    left = [file for name, file in named.items() if not _is_done(file, answers.get(name))]
    for file in left:
        answers.pop(file_name(file), None)
    rows.keep(answers)
    for number, answer in enumerate(predict_files(client, left), start=1):
        if on_answer:
            on_answer(answer, len(left) - number)
        rows.add(answer)
        answers[answer.image] = answer
    return [answers[name] for name in named]


def _is_done(file: Path, answer: FilePrediction | None) -> bool:
    return bool(answer and answer.sha256 and answer.sha256 == digest(read_image(file)))
