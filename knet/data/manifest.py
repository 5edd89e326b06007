"""CSV manifests: the images of data sets other than BreaKHis."""

from __future__ import annotations

import csv
import io
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.text import counted, list_problems
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
_Row = tuple[int, dict[str, str]]  # number of its last line, and texts by column


def read_manifest(file: Path, source: Source, *, classes: Sequence[str]) -> dict[ImageFile, int]:
    """Read a manifest.

    Args:
        file: CSV in UTF-8 with a header: path, label, group and any further columns.
        source: Source that the paths are relative to.
        classes: Accepted labels.

    Returns:
        Bytes of each image, sorted by path.

    Raises:
        UserError: A column is missing, rows are invalid or files are missing; the message lists the lines.
    """
    rows, problems = _read_rows(file)
    lines: dict[str, int] = {}
    groups: dict[str, str] = {}  # first spelling of each group, by its case-folded name
    for line, row in rows:
        spelling = groups.setdefault(row["group"].casefold(), row["group"])
        problems += [f"line {line}: {problem}" for problem in _problems(row, lines, spelling, classes)]
        lines.setdefault(row["path"], line)
    if problems:
        raise UserError(list_problems(f"{counted(len(problems), 'mistake')} in {file}", problems))
    if not rows:
        raise UserError(f"{file} names no images: add a line for each below {','.join(REQUIRED)}")
    sizes = source.find(lines)
    missing = [f"line {line}: {path}" for path, line in lines.items() if path not in sizes]
    if missing:
        raise UserError(
            list_problems(f"{source.location} lacks {counted(len(missing), 'file')} of {file}", missing)
            + "\ncorrect the paths, or set data.root to the folder that they are relative to"
        )
    images = [(_image(row), sizes[row["path"]]) for _, row in rows]
    return dict(sorted(images))


def _read_rows(file: Path) -> tuple[list[_Row], list[str]]:
    """Read the rows, and list those with a wrong number of values."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(table, [])
        _check_header(file, header)
        rows: list[_Row] = []
        problems = []
        for cells in table:
            if len(cells) == len(header):
                rows.append((table.line_num, dict(zip(header, cells, strict=True))))
            elif cells:  # not an empty line
                problems.append(f"line {table.line_num}: {len(cells)} values for {len(header)} columns")
    except OSError as error:
        raise UserError(f"cannot read the manifest {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the manifest {file} is not a text file in UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{file}, line {table.line_num}: not CSV ({error})") from None
    return rows, problems


def _check_header(file: Path, header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise UserError(
            f"{file} lacks the column {missing[0]}: its first line must name {', '.join(REQUIRED)}"
        )
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{file} has two columns named {name}")
        if not _COLUMN.fullmatch(name) or (name in _RESERVED and name not in REQUIRED):
            raise UserError(
                f"{file}: a column cannot be named {name!r}; use small letters, digits and _, and none of "
                f"{', '.join(_RESERVED)}"
            )


def _problems(
    row: dict[str, str], lines: dict[str, int], spelling: str, classes: Sequence[str]
) -> Iterator[str]:
    """Yield the problems of a row.

    Args:
        row: Texts by column.
        lines: Line numbers of the paths of earlier rows.
        spelling: First spelling of the group in the manifest.
        classes: Accepted labels.
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
    if path.startswith("/") or ".." in path.replace("\\", "/").split("/"):
        yield f"{path} leads out of the folder; paths are relative to it"
    elif posixpath.normpath(path) != path:
        yield f"write {path} as {posixpath.normpath(path)}"
    if path in lines:
        yield f"{path} is on line {lines[path]} too"
    if group != spelling:
        # They could be one patient, who must not be in two splits.
        yield f"group {group!r} and an earlier {spelling!r} differ by case alone; use one spelling"
    if row["label"] not in classes:
        yield f"label {row['label']!r} is not one of data.classes, {' and '.join(classes)}"


def _image(row: dict[str, str]) -> ImageFile:
    columns = tuple((name, text) for name, text in row.items() if name not in REQUIRED)
    return ImageFile(row["path"], row["label"], row["group"], columns)
