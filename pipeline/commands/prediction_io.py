"""Input files and printed results of `knet predict`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from knet.base.errors import UserError
from knet.base.text import counted, list_problems
from knet.client import FilePrediction, PatientPrediction, Prediction, find_images
from knet.client.files import COLUMNS, csv_cell
from knet.data import breakhis
from knet.data.manifest import read_table


def list_files(names: Sequence[str], *, stdin: TextIO | None) -> tuple[list[Path], list[Path]]:
    """List the image files that the arguments of the command name.

    Args:
        names: Files, folders to search for images, and `-` for file names on standard input.
        stdin: File names, one a line; empty lines are ignored. None: it is closed.

    Returns:
        Each file once, in order; and the other files in the folders, which are ignored.

    Raises:
        UserError: A folder cannot be read or contains no image, no file is named, or names are no text.
    """
    files: list[Path] = []
    ignored: list[Path] = []
    for name in names:
        if name == "-":
            files += _read_names(stdin)
        elif Path(name).is_dir():
            images, others = find_images(Path(name))
            files += images
            ignored += others
        else:
            files.append(Path(name))
    if not files:
        raise UserError("standard input names no image: write one file name a line")
    return list(dict.fromkeys(files)), ignored


def _read_names(stdin: TextIO | None) -> list[Path]:
    try:
        text = stdin.read() if stdin else ""
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError("standard input is no list of file names in UTF-8: write one file name a line")
    return [Path(line) for line in text.lstrip("\ufeff").splitlines() if line]


BREAKHIS: Final = "breakhis"


def patient_by_file(files: Iterable[Path], source: str) -> dict[Path, str]:
    """Return the patient of each file.

    Args:
        files: Image files.
        source: `breakhis` for file names of BreaKHis; else a CSV file, such as a manifest, with the columns
            `path` (relative to the CSV file) and `group`.

    Raises:
        UserError: The patient of a file is unknown, or the CSV file cannot be read.
    """
    groups = None if source == BREAKHIS else _read_groups(Path(source))
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
            list_problems(f"the patient of {counted(len(problems), 'image')} is unknown", problems)
            + "\nleave them out, or give a CSV file with the columns path and group"
        )
    return patients


def _read_groups(file: Path) -> dict[Path, str]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give {BREAKHIS} or a CSV file")
    _, rows, problems = read_table(file, required=("path", "group"))
    if problems:
        raise UserError(list_problems(f"{counted(len(problems), 'mistake')} in {file}", problems))
    groups = {(file.parent / row["path"]).resolve(): row["group"] for _, row in rows}
    if not groups or not all(groups.values()):
        raise UserError(f"{file} has no rows, or one without group: name the patient of each image")
    return groups


def write_predictions(predictions: Iterable[FilePrediction], stream: TextIO, *, output_format: str) -> None:
    """Write a row for each file.

    Args:
        predictions: Results. JSON and CSV rows are written as they come in, a table when all are there.
        stream: Text stream to write to.
        output_format: `csv`, `json` (one object a line) or `table` (without failed predictions).
    """
    if output_format == "csv":
        columns, all_predictions = _with_columns(predictions)
        _write_csv(columns, (one.as_row() for one in all_predictions), stream)
    elif output_format == "json":
        _write_json((one.as_json() for one in predictions), stream)
    else:
        good = [(one.image, one.result) for one in predictions if isinstance(one.result, Prediction)]
        header = _header(good[0][1]) if good else ()
        _write_table(header, [_image_row(name, prediction) for name, prediction in good], stream)


def _with_columns(predictions: Iterable[FilePrediction]) -> tuple[Sequence[str], Iterable[FilePrediction]]:
    """Return the columns, which the first successful prediction has, and all predictions."""
    remaining = iter(predictions)
    first: list[FilePrediction] = []
    for one in remaining:
        first.append(one)
        if isinstance(one.result, Prediction):
            break
    return (first[-1].columns if first else COLUMNS), chain(first, remaining)


def _header(prediction: Prediction) -> tuple[str, ...]:
    group = () if prediction.positive_score is None else ("positive score", "positive")
    return "image", "label", prediction.positive_class or "probability", *group, "out of distribution"


def _image_row(name: str, prediction: Prediction) -> tuple[str, ...]:
    group = _group_cells(prediction.positive_score, prediction.positive)
    return name, prediction.label, f"{prediction.score:.3f}", *group, "; ".join(prediction.reasons)


def _group_cells(score: float | None, positive: bool | None) -> tuple[str, ...]:
    return () if score is None else (f"{score:.3f}", "yes" if positive else "no")


def write_patients(patients: Sequence[PatientPrediction], stream: TextIO, *, output_format: str) -> None:
    """Write a row for each patient.

    Args:
        patients: Predictions for patients.
        stream: Text stream to write to.
        output_format: `csv`, `json` (one object a line) or `table`.
    """
    if output_format == "csv":
        rows = list(map(_as_json, patients))
        texts = [{name: csv_cell(value) for name, value in row.items()} for row in rows]
        _write_csv(_patient_columns(rows), texts, stream)
    elif output_format == "json":
        _write_json(map(_as_json, patients), stream)
    else:
        header = _patient_header(patients[0]) if patients else ()
        _write_table(header, [_patient_row(patient) for patient in patients], stream)


def _as_json(patient: PatientPrediction) -> dict[str, object]:
    """Return the fields that a model of its kind has."""
    return {name: value for name, value in asdict(patient).items() if value is not None}


def _patient_columns(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return the fields that any patient has; without patients those of two classes."""
    return [
        field.name
        for field in fields(PatientPrediction)
        if any(field.name in row for row in rows) or (not rows and field.default is MISSING)
    ]


def _patient_header(patient: PatientPrediction) -> tuple[str, ...]:
    group = () if patient.positive_score is None else ("mean positive score", "positive")
    positive = patient.positive_class or "positive"
    return (
        "patient",
        "label",
        f"mean {patient.positive_class or 'probability'}",
        *group,
        *(() if patient.positive_share is None else (f"share {positive}",)),
        "images",
        "out of distribution",
    )


def _patient_row(patient: PatientPrediction) -> tuple[str, ...]:
    return (
        patient.patient,
        patient.label,
        f"{patient.mean_score:.3f}",
        *_group_cells(patient.positive_score, patient.positive),
        *(() if patient.positive_share is None else (f"{patient.positive_share:.0%}",)),
        str(patient.images),
        str(patient.flagged_ood),
    )


def _write_csv(columns: Sequence[str], rows: Iterable[dict[str, str]], stream: TextIO) -> None:
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_json(trees: Iterable[dict[str, object]], stream: TextIO) -> None:
    for tree in trees:
        stream.write(json.dumps(tree) + "\n")


_WIDTH: Final = 160  # characters of a table that is not printed on a terminal


def _write_table(header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in header:
        table.add_column(name, overflow="fold")  # the end of a long path matters
    for row in rows:
        table.add_row(*row)
    width = None if stream.isatty() else _WIDTH
    Console(file=stream, width=width, markup=False, highlight=False).print(table)


@contextmanager
def images_bar(*, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if that is a terminal.

    Args:
        hidden: Show no bar.

    Yields:
        A function that advances the bar by one image, given the number of remaining images.
    """
    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # standard output may be a pipe
        disable=hidden or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def advance(remaining: int) -> None:
            total = bar.tasks[task].total
            bar.update(task, total=remaining + 1 if total is None else total, advance=1)

        yield advance
