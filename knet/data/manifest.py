"""CSV manifests: the images of data sets other than BreaKHis."""

from __future__ import annotations

import csv
import itertools
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.packed_list import PackedList, sort_packed
from knet.base.text import counted, list_names, list_problems
from knet.data.source import ImageFile, Source

REQUIRED: Final = ("path", "label", "group")  # any further column is a text to slice metrics by

_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESERVED = (
    schema_names.LABEL,
    schema_names.PATIENT,
    schema_names.SPLIT,
    schema_names.CANDIDATE,
    schema_names.IMAGE_PATH,
    schema_names.SCORE,
    schema_names.THRESHOLD,
)
_HERE = re.compile(r"^(\./+)+")
_DRIVE = re.compile(r"[A-Za-z]:/")  # of Windows
_Row = tuple[int, dict[str, str]]  # number of its last line, and texts by column


def read_manifest(file: Path, source: Source, *, classes: Sequence[str]) -> PackedList[tuple[ImageFile, int]]:
    """Read a manifest.

    Args:
        file: CSV (`read_table`) with the columns path, label, group and any further ones.
        source: Source that the paths are relative to, or below which absolute ones are.
        classes: Accepted labels.

    Returns:
        Each image with its bytes, sorted by path.

    Raises:
        UserError: A column is missing, rows are invalid or files are missing; the message lists the lines.
    """
    columns, rows, problems = read_table(file, required=REQUIRED)
    _check_columns(file, columns)
    rows = PackedList((line, {**row, "path": _relative(row["path"], source)}) for line, row in rows)
    repeated = _repeated(row["path"] for _, row in rows)
    lines: dict[str, int] = {}  # of the first row of each path that may be on several
    groups: dict[str, str] = {}  # first spelling of each group, by its case-folded name
    for line, row in rows:
        spelling = groups.setdefault(row["group"].casefold(), row["group"])
        problems += [
            f"line {line}: {problem}" for problem in _problems(row, lines, spelling, classes, source.location)
        ]
        if hash(row["path"]) in repeated:
            lines.setdefault(row["path"], line)
    if problems:
        raise UserError(list_problems(f"{counted(len(problems), 'mistake')} in {file}", problems))
    if not rows:
        raise UserError(f"{file} names no images: add a line for each below {','.join(REQUIRED)}")
    by_path = sort_packed(((_image(row), line) for line, row in rows), key=lambda row: row[0].path)
    sizes = source.find(image.path for image, _ in by_path)
    found: PackedList[tuple[ImageFile, int]] = PackedList()
    missing = []
    name, size = next(sizes, ("", 0))
    for image, line in by_path:
        if image.path == name:
            found.append((image, size))
            name, size = next(sizes, ("", 0))
        else:
            missing.append((line, f"line {line}: {image.path}"))
    if missing:
        lacking = [problem for _, problem in sorted(missing)]
        raise UserError(
            list_problems(f"{source.location} lacks {counted(len(lacking), 'file')} of {file}", lacking)
            + "\ncorrect the paths, or set data.root to the folder that they are relative to"
        )
    return found


def _repeated(paths: Iterable[str]) -> set[int]:
    """Return the hashes that several paths have; equal paths are among them."""
    import numpy as np  # which clients that read a table of patients may lack

    hashes = np.sort(np.fromiter(map(hash, paths), np.int64))
    return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def read_table(file: Path, *, required: Sequence[str]) -> tuple[list[str], PackedList[_Row], list[str]]:
    """Read the rows of a CSV file as spreadsheets and pandas write it.

    Commas, semicolons or tabs separate the values, whichever the header has. Names of columns are read in
    small letters, with `_` for spaces; a column without a name, pandas' index, is left out.

    Args:
        file: UTF-8, with a header.
        required: Columns that it must have.

    Returns:
        Names of the columns; rows by column with the numbers of their last lines; and the problems of rows
        with a wrong number of values.

    Raises:
        UserError: The file cannot be read or is not CSV, or a column is missing or there twice.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _read_rows(file, stream, required)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; give a CSV file") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not a text file in UTF-8; save it as UTF-8") from None


def _read_rows(
    file: Path, stream: TextIO, required: Sequence[str]
) -> tuple[list[str], PackedList[_Row], list[str]]:
    """Read the rows of an open file; see `read_table`."""
    first = stream.readline()
    delimiter = max(_DELIMITERS, key=first.count)  # the comma, if there is none of them
    table = csv.reader(itertools.chain([first], stream), strict=True, delimiter=delimiter)
    try:
        header = [_column_name(cell) for cell in next(table, [])]
        if missing := [name for name in required if name not in header]:
            raise UserError(
                f"{file} lacks the column {missing[0]}: its first line must name {', '.join(required)}"
                f"{_found(header)}"
            )
        columns = [name for name in header if name]
        for name in columns:
            if columns.count(name) > 1:
                raise UserError(f"{file} has two columns named {name}")
        rows: PackedList[_Row] = PackedList()
        problems = []
        for cells in table:
            if len(cells) == len(header) and any(map(str.strip, cells)):
                row = {name: cell for name, cell in zip(header, cells, strict=True) if name}
                rows.append((table.line_num, row))
            elif any(map(str.strip, cells)):  # not an empty line
                problems.append(f"line {table.line_num}: {len(cells)} values for {len(header)} columns")
    except csv.Error as error:
        raise UserError(f"{file}, line {table.line_num}: not CSV ({error})") from None
    return columns, rows, problems


_DELIMITERS = (",", ";", "\t")
_INDEX = re.compile(r"(unnamed:_\d+)?")  # names that pandas gives to its index


def _column_name(cell: str) -> str:
    name = cell.strip().lower().replace(" ", "_")
    return "" if _INDEX.fullmatch(name) else name


def _found(header: Sequence[str]) -> str:
    return f"; it names {', '.join(map(repr, header))}" if header else ""


def _check_columns(file: Path, names: Iterable[str]) -> None:
    for name in names:
        if not _COLUMN.fullmatch(name) or (name in _RESERVED and name not in REQUIRED):
            raise UserError(
                f"{file}: a column cannot be named {name!r}; use small letters, digits and _, and none of "
                f"{', '.join(_RESERVED)}"
            )


def _relative(path: str, source: Source) -> str:
    """Return a path relative to the source, with forward slashes; one that leads out of it unchanged."""
    if "\\" in path and "/" not in path:
        path = path.replace("\\", "/")
    path = _HERE.sub("", path)
    if not path.startswith("/"):
        return path
    for absolute in (Path(path), Path(os.path.realpath(path))):
        if absolute.is_relative_to(source.location):
            return absolute.relative_to(source.location).as_posix()
    return path


def _problems(
    row: dict[str, str], lines: dict[str, int], spelling: str, classes: Sequence[str], location: Path
) -> Iterator[str]:
    """Yield the problems of a row.

    Args:
        row: Texts by column.
        lines: Line numbers of the paths of earlier rows.
        spelling: First spelling of the group in the manifest.
        classes: Accepted labels.
        location: Folder or archive of the paths.
    """
    path, group = row["path"], row["group"]
    for name, text in row.items():
        if not text.strip():
            yield f"{name} is empty"
        elif not text.isprintable():
            yield f"{name} holds a character that cannot be printed"
        elif text != text.strip():
            yield f"{name} {text!r} begins or ends with white space; remove it"
        # Texts that look the same would be two groups. A path is spelled as on disk.
        elif name != "path" and not unicodedata.is_normalized("NFC", text):
            yield f"{name} {text!r} is not in Unicode's normal form NFC; normalize it"
    if path.startswith("/") or ".." in path.replace("\\", "/").split("/") or _DRIVE.match(path):
        yield f"{path} leads out of {location}; paths are relative to it, or absolute ones below it"
    elif posixpath.normpath(path) != path:
        yield f"write {path} as {posixpath.normpath(path)}"
    if path in lines:
        yield f"{path} is on line {lines[path]} too"
    if group != spelling:
        # They could be one patient, who must not be in two splits.
        yield f"group {group!r} and an earlier {spelling!r} differ by case alone; use one spelling"
    if row["label"] not in classes:
        yield f"label {row['label']!r} is not one of data.classes, {list_names(classes)}"


def _image(row: dict[str, str]) -> ImageFile:
    columns = tuple((name, text) for name, text in row.items() if name not in REQUIRED)
    return ImageFile(row["path"], row["label"], row["group"], columns)
