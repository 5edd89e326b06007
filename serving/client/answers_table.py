"""A CSV file of answers, to which rows are added while the work goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import UserError
from pipeline.write_whole import write_whole
from serving.client.file_answer import COLUMNS, FileAnswer


class AnswersTable:
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
                write_whole(self._file, kept)
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, answer: FileAnswer) -> None:
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

    def _answer(self, number: int, line: str) -> FileAnswer:
        try:
            (cells,) = csv.reader([line], strict=True)
            return FileAnswer.from_row(dict(zip(COLUMNS, cells, strict=True)))
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
