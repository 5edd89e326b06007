"""Which files are asked about."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from knet.base.errors import UserError
from knet.base.text import counted, list_problems
from knet.client import FilePrediction, PatientPrediction, Prediction, find_images
from knet.client.files import COLUMNS
from knet.data import breakhis


def list_files(names: Sequence[str], *, stdin: TextIO) -> tuple[list[Path], dict[str, int]]:
    """Each file once, in order, and how many others there are in folders that hold some.

    Args:
        names: files, folders that are searched for images, and `-` for file names on standard input.
        stdin: a file name a line; empty lines count for nothing.

    Raises:
        UserError: a folder cannot be read or holds no image, or there is no file.
    """
    files: list[Path] = []
    passed_over = {}
    for name in names:
        if name == "-":
            files += [Path(line) for line in stdin.read().split("\n") if line]
        elif Path(name).is_dir():
            images, others = find_images(Path(name))
            files += images
            if others:
                passed_over[name] = others
        else:
            files.append(Path(name))
    if not files:
        raise UserError("standard input names no image: write a file name a line")
    return list(dict.fromkeys(files)), passed_over


BREAKHIS: Final = "breakhis"


def patient_by_file(files: Iterable[Path], source: str) -> dict[Path, str]:
    """The patient of each file.

    Args:
        files: images.
        source: `breakhis`, by their names; or a CSV file with the columns `path`, from where it lies, and
            `group`, as a manifest has them.

    Raises:
        UserError: a file's patient is unknown, or the CSV file cannot be read; the text says which.
    """
    groups = None if source == BREAKHIS else _groups(Path(source))
    patients: dict[Path, str] = {}
    problems = []
    for file in files:
        try:
            patients[file] = groups[file.resolve()] if groups else breakhis.parse_name(file.name).patient
        except KeyError:
            problems.append(f"{file}: {source} has no row for it")
        except ValueError as error:
            problems.append(f"{file}: {error}")
    if problems:
        raise UserError(
            list_problems(f"no patient is known of {counted(len(problems), 'image')}", problems)
            + "\nleave them out, or name a CSV file with the columns path and group"
        )
    return patients


def _groups(file: Path) -> dict[Path, str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, strict=True))
        groups = {(file.parent / row["path"]).resolve(): row["group"] for row in rows}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give {BREAKHIS} or a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is not CSV in UTF-8 ({error})") from error
    except KeyError as error:
        raise UserError(
            f"{file} lacks the column {error}: its first line must name path and group"
        ) from error
    if not groups or not all(groups.values()):
        raise UserError(f"{file} has no rows, or one whose group is empty: name the patient of each image")
    return groups


_WIDTH: Final = 160  # of a table that no terminal sets one for


def write_answers(answers: Iterable[FilePrediction], stream: TextIO, *, form: str) -> None:
    """A row a file, as its answer comes in; a table is printed when all are there, without what has none."""
    if form == "csv":
        _write_csv(COLUMNS, (answer.as_row() for answer in answers), stream)
    elif form == "json":
        _write_json((answer.as_json() for answer in answers), stream)
    else:
        good = [(a.image, a.answer) for a in answers if isinstance(a.answer, Prediction)]
        rows = [(name, one.label, f"{one.score:.3f}", "; ".join(one.reasons)) for name, one in good]
        positive = good[0][1].positive_class if good else ""
        _write_table(("image", "label", positive, "not to be relied on"), rows, stream)


def write_patients(patients: Sequence[PatientPrediction], stream: TextIO, *, form: str) -> None:
    """A row a patient."""
    if form == "csv":
        columns = [field.name for field in fields(PatientPrediction)]
        _write_csv(columns, map(asdict, patients), stream)
    elif form == "json":
        _write_json(map(asdict, patients), stream)
    else:
        rows = [_patient_row(patient) for patient in patients]
        positive = patients[0].positive_class if patients else ""
        header = ("patient", "label", f"mean {positive}", f"called {positive}", "images", "doubted")
        _write_table(header, rows, stream)


def _patient_row(patient: PatientPrediction) -> tuple[str, ...]:
    return (
        patient.patient,
        patient.label,
        f"{patient.mean_score:.3f}",
        f"{patient.positive_share:.0%}",
        str(patient.images),
        str(patient.doubted),
    )


def _write_csv(columns: Sequence[str], rows: Iterable[dict[str, str]], stream: TextIO) -> None:
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_json(trees: Iterable[dict[str, object]], stream: TextIO) -> None:
    """An object a line."""
    for tree in trees:
        stream.write(json.dumps(tree) + "\n")


def _write_table(header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in header:
        table.add_column(name, overflow="fold")  # of a long path the end matters
    for row in rows:
        table.add_row(*row)
    width = None if stream.isatty() else _WIDTH
    Console(file=stream, width=width, markup=False, highlight=False).print(table)


@contextmanager
def images_bar(*, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; call what is given with how many images are left."""
    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # it may be a pipe
        disable=hidden or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def advance(left: int) -> None:
            total = bar.tasks[task].total
            bar.update(task, total=left + 1 if total is None else total, advance=1)

        yield advance
