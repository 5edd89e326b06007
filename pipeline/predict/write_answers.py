"""Prints what was said of images and of patients: a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from serving.client import FileAnswer, PatientPrediction, Prediction
from serving.client.file_answer import COLUMNS

_WIDTH: Final = 160  # of a table that no terminal sets one for


def write_answers(answers: Iterable[FileAnswer], stream: TextIO, *, form: str) -> None:
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
