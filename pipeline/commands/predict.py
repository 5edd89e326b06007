"""`knet predict`: classify images with a served model."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from knet.base.errors import UserError
from pipeline.commands.options import UserPath, client_options

if TYPE_CHECKING:
    from knet.client import Client, FilePrediction
    from pipeline.commands.overlays import Overlays


@click.command("predict")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("table", "json", "csv")),
    help="Format of the output; json is one object a line. Default: table; with --output by its suffix.",
)
@click.option(
    "--output",
    type=UserPath(path_type=Path, dir_okay=False),
    help="Write to a file: JSON (.json) or CSV. The same command resumes an interrupted CSV file.",
)
@click.option(
    "--explain",
    type=UserPath(path_type=Path, file_okay=False),
    help="Write images with heat maps to a folder.",
)
@click.option(
    "--patients",
    metavar="breakhis|FILE",
    help="Print patients instead of images: by BreaKHis file names, or a CSV file with the columns path and "
    "group.",
)
@client_options
def command(
    client: Client,
    images: tuple[str, ...],
    output_format: str | None,
    output: Path | None,
    explain: Path | None,
    patients: str | None,
) -> None:
    """Classify images with a served model.

    IMAGES are files, folders, or - for file names on standard input, one a line.

    Exits with 0 if every image has a prediction, with 1 if some have none (they are listed), with 2 if all
    have none or the command is wrong.
    """
    from knet.base.text import counted, list_problems
    from pipeline.commands.prediction_io import list_files, patient_by_file

    files, ignored = list_files(images, stdin=sys.stdin)
    if ignored:
        heading = f"note: ignored {counted(len(ignored), 'other file')}"
        click.echo(list_problems(heading, list(map(str, ignored))), err=True)
    patient_of = patient_by_file(files, patients) if patients else None
    overlays = _make_overlays(client, files, images, explain) if explain else None
    draw: _Draw = overlays.draw if overlays else lambda prediction: None
    if output:
        # With --patients the format is that of the printed patients.
        file_format = None if patient_of else output_format
        predictions = _write_file(client, files, output, output_format=file_format, draw=draw)
    else:
        stream = None if patient_of else sys.stdout
        predictions = _write_stream(client, files, stream, output_format=output_format or "table", draw=draw)
    if overlays:
        overlays.draw_missing(predictions)  # of predictions that an earlier command wrote to --output
    if patient_of:
        _print_patients(predictions, patient_of, output_format=output_format or "table")
    _report_failures(predictions, output)


_Draw = Callable[["FilePrediction"], None]


def _make_overlays(client: Client, files: Sequence[Path], names: Sequence[str], folder: Path) -> Overlays:
    try:
        from pipeline.commands.overlays import Overlays
    except ModuleNotFoundError as error:
        raise UserError(f"--explain needs {error.name}: pip install numpy pillow") from error
    for name in names:
        if Path(name).is_dir() and folder.resolve().is_relative_to(Path(name).resolve()):
            raise UserError(f"--explain {folder} is inside {name}, a folder of images: give another folder")
    return Overlays(client, files, folder)


def _write_file(
    client: Client, files: Sequence[Path], output: Path, *, output_format: str | None, draw: _Draw
) -> list[FilePrediction]:
    """Write predictions to a file: append rows to CSV, write other formats at the end."""
    from knet.base.files import atomic_write

    if output_format == "csv" or (output_format is None and output.suffix not in (".json", ".jsonl")):
        return _append_to_csv(client, files, output, draw=draw)
    text = io.StringIO()
    predictions = _write_stream(client, files, text, output_format=output_format or "json", draw=draw)
    try:
        atomic_write(output, text.getvalue())
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}; give a file that can be written") from error
    return predictions


def _append_to_csv(
    client: Client, files: Sequence[Path], table: Path, *, draw: _Draw
) -> list[FilePrediction]:
    from knet.client import predict_to_csv
    from pipeline.commands.prediction_io import images_bar

    with images_bar() as advance:

        def on_result(prediction: FilePrediction, remaining: int) -> None:
            draw(prediction)
            advance(remaining)

        return predict_to_csv(client, files, table, on_result=on_result)


def _write_stream(
    client: Client, files: Sequence[Path], stream: TextIO | None, *, output_format: str, draw: _Draw
) -> list[FilePrediction]:
    """Classify files, and write the predictions if there is a stream."""
    from knet.client import predict_files
    from pipeline.commands.prediction_io import images_bar, write_predictions

    predictions: list[FilePrediction] = []
    rows_scroll = output_format != "table" and stream is not None and stream.isatty()
    with images_bar(hidden=rows_scroll) as advance:

        def classify() -> Iterator[FilePrediction]:
            for prediction in predict_files(client, files):
                draw(prediction)
                predictions.append(prediction)
                advance(len(files) - len(predictions))
                yield prediction

        if stream is None:
            deque(classify(), maxlen=0)
        else:
            write_predictions(classify(), stream, output_format=output_format)
    return predictions


def _print_patients(
    predictions: Sequence[FilePrediction], patient_of: dict[Path, str], *, output_format: str
) -> None:
    from knet.client import Prediction, by_patient, file_name
    from pipeline.commands.prediction_io import write_patients

    patients = {file_name(file): patient for file, patient in patient_of.items()}
    pairs = [(patients[one.image], one.result) for one in predictions if isinstance(one.result, Prediction)]
    write_patients(by_patient(pairs), sys.stdout, output_format=output_format)


def _report_failures(predictions: Sequence[FilePrediction], output: Path | None) -> None:
    """List the images without prediction, and exit with the code for them."""
    from knet.base.text import counted, list_problems
    from knet.client import FailedPrediction, Prediction

    results = [one.result for one in predictions]
    versions = sorted({result.model_version for result in results if isinstance(result, Prediction)})
    if len(versions) > 1:
        click.echo(f"note: the predictions are of the versions {', '.join(map(str, versions))}", err=True)
    failed = [
        f"{one.image}: {one.result.reason}" for one in predictions if isinstance(one.result, FailedPrediction)
    ]
    if not failed:
        return
    heading = f"{len(failed)} of {counted(len(predictions), 'image')} not classified"
    text = list_problems(heading, failed, rest=f"{output or '--output FILE'} lists all")
    if len(failed) == len(predictions):
        raise UserError(text)
    click.echo(text, err=True)
    sys.exit(1)
