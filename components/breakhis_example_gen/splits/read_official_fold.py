"""Reads a fold as BreaKHis publishes it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.breakhis_example_gen.breakhis_name import parse_name
from components.breakhis_example_gen.listing import listing
from pipeline.errors import UserError

_SPLITS = ("train", "test")


@dataclass(frozen=True)
class FoldRow:
    """What a fold says of one image."""

    line: int  # in the file, from 1
    name: str  # of the image file
    patient: str
    split: str  # train or test


def read_official_fold(text: str, file: Path) -> tuple[int, list[FoldRow]]:
    """The number of a fold, and its rows.

    The form is that of `dsfold1.txt`, `filename|magnification|fold|train-or-test` without a header, or a CSV
    table of the same four columns, whose header names the first `filename` and the last `split`.

    Raises:
        UserError: lines are of another form, contradict themselves or each other, or there are none; the text
            names `file` and their numbers.
    """
    rows: dict[str, FoldRow] = {}
    numbers: set[int] = set()
    problems = []
    for line, fields in _fields(text, file):
        try:
            row, number = _row(line, fields)
            if row.name in rows:
                raise ValueError(f"{row.name} stands in line {rows[row.name].line} too")
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        rows[row.name] = row
        numbers.add(number)
    if problems:
        raise UserError(listing(f"{file} is not an official fold", problems))
    if len(numbers) != 1:
        found = f"folds {', '.join(map(str, sorted(numbers)))}" if numbers else "no images"
        raise UserError(f"{file} holds {found}; give a file of one fold")
    return numbers.pop(), list(rows.values())


def _fields(text: str, file: Path) -> Iterator[tuple[int, list[str]]]:
    """The four fields of each line that has any."""
    lines = text.splitlines()
    if "|" in text.strip().partition("\n")[0]:
        table: Iterable[list[str]] = (line.split("|") for line in lines)
        first = 1
    else:
        reader = csv.reader(lines)
        try:
            header, *table = reader
        except csv.Error as error:
            raise UserError(f"{file}, line {reader.line_num}: neither a fold nor CSV ({error})") from None
        if len(header) != 4 or (header[0], header[3]) != ("filename", "split"):
            raise UserError(
                f"{file} is neither a split file of ours nor an official fold: expected JSON, lines "
                "filename|magnification|fold|train-or-test, or a table with the columns filename, "
                "magnification, number, split"
            )
        first = 2
    for line, fields in enumerate(table, start=first):
        if any(field.strip() for field in fields):
            yield line, [field.strip() for field in fields]


def _row(line: int, fields: list[str]) -> tuple[FoldRow, int]:
    if len(fields) != 4:
        raise ValueError(f"{len(fields)} fields instead of 4")
    name, magnification, number, split = fields
    image = parse_name(name)
    if magnification != image.column("magnification").removesuffix("X"):
        raise ValueError(f"magnification {magnification}, but {name}")
    if split not in _SPLITS:
        raise ValueError(f"{split!r} instead of train or test")
    if not number.isdecimal():
        raise ValueError(f"{number!r} instead of the fold's number")
    return FoldRow(line, name, image.patient, split), int(number)
