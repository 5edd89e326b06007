"""`knet predict`."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from knet.base.errors import UserError
from pipeline.commands.options import client_options

if TYPE_CHECKING:
    from knet.client import Client, FilePrediction
    from pipeline.commands.overlays import Overlays


_OnAnswer = Callable[["FilePrediction"], None]


@click.command("predict")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json", "csv")),
    help="json is an object a line. Default: table; of --output by its ending.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the images' answers there, as JSON (.json) or CSV, which the same command goes on with.",
)
@click.option(
    "--explain",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the images with heat maps over them.",
)
@click.option(
    "--patients",
    metavar="breakhis|FILE",
    help="Print patients instead: by BreaKHis's file names, or a CSV file with the columns path and group.",
)
@client_options
def command(
    client: Client,
    images: tuple[str, ...],
    form: str | None,
    output: Path | None,
    explain: Path | None,
    patients: str | None,
) -> None:
    """Ask a served model about images: files, folders, or - for file names on standard input, one a line.

    Exit code 0: every image was answered; 1: some were not, and are listed; 2: none, or a mistake.
    """
    from knet.base.text import counted
    from pipeline.commands.prediction_io import list_files, patient_by_file

    files, passed_over = list_files(images, stdin=sys.stdin)
    for folder, others in passed_over.items():
        click.echo(f"note: passed over {counted(others, 'other file')} in {folder}", err=True)
    owners = patient_by_file(files, patients) if patients else None
    overlays = _overlays(client, files, images, explain) if explain else None
    draw: _OnAnswer = overlays.draw if overlays else lambda answer: None
    if output:
        answers = _write_file(client, files, output, form=None if owners else form, draw=draw)
    else:
        answers = _write(client, files, None if owners else sys.stdout, form=form or "table", draw=draw)
    if overlays:
        overlays.draw_missing(answers)  # of answers that were there already
    if owners:
        _print_patients(answers, owners, form=form or "table")
    _end(answers)


def _overlays(client: Client, files: Sequence[Path], names: Sequence[str], folder: Path) -> Overlays:
    try:
        from pipeline.commands.overlays import Overlays
    except ModuleNotFoundError as error:
        raise UserError(f"--explain needs {error.name}: pip install numpy pillow") from error
    for name in names:
        if Path(name).is_dir() and folder.resolve().is_relative_to(Path(name).resolve()):
            raise UserError(f"--explain {folder} is in {name}, whose images are asked about: give another")
    return Overlays(client, files, folder)


def _write_file(
    client: Client, files: Sequence[Path], output: Path, *, form: str | None, draw: _OnAnswer
) -> list[FilePrediction]:
    """In a form, or in that which the name ends with: CSV is added to, others are written as a whole."""
    from knet.base.files import atomic_write

    if form == "csv" or (form is None and output.suffix not in (".json", ".jsonl")):
        return _add_to_csv(client, files, output, draw=draw)
    text = io.StringIO()
    answers = _write(client, files, text, form=form or "json", draw=draw)
    try:
        atomic_write(output, text.getvalue())
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}; give a file that can be written") from error
    return answers


def _add_to_csv(
    client: Client, files: Sequence[Path], table: Path, *, draw: _OnAnswer
) -> list[FilePrediction]:
    from knet.client import predict_to_csv
    from pipeline.commands.prediction_io import images_bar

    with images_bar() as advance:

        def on_answer(answer: FilePrediction, left: int) -> None:
            draw(answer)
            advance(left)

        return predict_to_csv(client, files, table, on_answer=on_answer)


def _write(
    client: Client, files: Sequence[Path], stream: TextIO | None, *, form: str, draw: _OnAnswer
) -> list[FilePrediction]:
    """Asks, and writes the answers to a stream if there is one."""
    from knet.client import predict_files
    from pipeline.commands.prediction_io import images_bar, write_answers

    answers: list[FilePrediction] = []
    rows_move_the_terminal = form != "table" and stream is not None and stream.isatty()
    with images_bar(hidden=rows_move_the_terminal) as advance:

        def asked() -> Iterator[FilePrediction]:
            for answer in predict_files(client, files):
                draw(answer)
                answers.append(answer)
                advance(len(files) - len(answers))
                yield answer

        if stream is None:
            deque(asked(), maxlen=0)
        else:
            write_answers(asked(), stream, form=form)
    return answers


def _print_patients(answers: Sequence[FilePrediction], owners: dict[Path, str], *, form: str) -> None:
    from knet.client import Prediction, by_patient, file_name
    from pipeline.commands.prediction_io import write_patients

    patients = {file_name(file): patient for file, patient in owners.items()}
    said = [(patients[one.image], one.answer) for one in answers if isinstance(one.answer, Prediction)]
    write_patients(by_patient(said), sys.stdout, form=form)


def _end(answers: Sequence[FilePrediction]) -> None:
    """Lists the images that were not answered, and ends with the code for it."""
    from knet.base.text import counted, list_problems
    from knet.client import FailedPrediction, Prediction

    versions = sorted({one.answer.model_version for one in answers if isinstance(one.answer, Prediction)})
    if len(versions) > 1:
        click.echo(f"note: the answers are of the versions {', '.join(map(str, versions))}", err=True)
    bad = [f"{one.image}: {one.answer.reason}" for one in answers if isinstance(one.answer, FailedPrediction)]
    if not bad:
        return
    text = list_problems(f"{len(bad)} of {counted(len(answers), 'image')} not answered", bad)
    if len(bad) == len(answers):
        raise UserError(text)
    click.echo(text, err=True)
    sys.exit(1)
