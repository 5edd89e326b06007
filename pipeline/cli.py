"""The command line. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import features
from pipeline.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config import Config
    from pipeline.registry import KeptStatistics
    from pipeline.run_record import Data, RunRecord
    from pipeline.workspace import Workspace

_PRESETS = ("demo", "paper", "production")  # of pipeline.config, which takes longer to import than --help may


def main() -> None:
    """Runs a command; a user's mistake ends with one message and exit code 2."""
    os.environ["TF_USE_LEGACY_KERAS"] = "0"  # Keras 3, in this process and its children
    try:
        cli()
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("pipeline", "components", "schemas", "serving"):
            raise
        click.echo(
            f"error: this command needs {error.name}: install the pipeline extra, "
            "pip install 'breakhis-knet[pipeline]'",
            err=True,
        )
        sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="breakhis-knet")
def cli() -> None:
    """Train, judge, push and ask breast histopathology models."""


def _configured(command: click.decorators.FC) -> click.decorators.FC:
    """The options by which every command finds its configuration."""
    for option in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field."),
        click.option(
            "--config", "file", type=click.Path(path_type=Path), help="A YAML file instead of a preset."
        ),
        click.option("--preset", type=click.Choice(_PRESETS), default="demo", show_default=True),
    ):
        command = option(command)
    return command


def _load(preset: str, file: Path | None, overrides: Sequence[str]) -> Config:
    from pipeline.config import load_config

    return load_config(file or preset, overrides)


def _with_source(config: Config, data: Path) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"source": data})})


@cli.command()
@_configured
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="BreaKHis_v1 as a folder, .zip, .tar or .tar.gz, or a .csv manifest. Default: synthetic images.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow and Beam have to say.")
def run(preset: str, file: Path | None, overrides: tuple[str, ...], data: Path | None, verbose: bool) -> None:
    """Run the whole pipeline, push the winner, serve it and ask it once."""
    from pipeline.runners.screen import quiet_console
    from pipeline.workspace import Workspace

    config = _load(preset, file, overrides)
    if data:
        config = _with_source(config, data)
    workspace = Workspace(config.output)
    with quiet_console(workspace.log, verbose=verbose) as console:
        from pipeline.preflight import check_weights, fetch_weights, prepare_data

        check_weights(config)
        fetch_weights(config)
        with console.status("reading the names") as status:
            checked = prepare_data(config, progress=status.update)
        _print_data(console, checked)
        console.print("starting TensorFlow and TFX")
        from pipeline.evaluation.report import DATA_PAGE, write_report
        from pipeline.runners.local import run_pipeline

        record = run_pipeline(config, checked, console=console)
        report = write_report(record, workspace.reports / record.run_id)
        _print_outcome(console, record)
        if record.pushed_version and record.examples:
            _print_prediction(console, workspace.served, record.examples / "Split-test")
        console.print(f"report: {report}", soft_wrap=True)
        if (data_page := report.with_name(DATA_PAGE)).is_file():
            console.print(f"data:   {data_page}", soft_wrap=True)
        if not verbose:
            console.print(f"log:    {workspace.log}", soft_wrap=True)
    if record.error:
        if record.user_error:
            raise UserError(record.error)
        click.echo(f"error: {record.error}", err=True)
        sys.exit(1)


def _print_data(console: Console, data: Data) -> None:
    kind = "synthetic images" if data.synthetic else "images"
    console.print(f"data: {data.source} ({kind}, span {data.span})", soft_wrap=True)
    for split in features.SPLITS:
        patients, images = data.patients[split], data.images[split]
        share = images / sum(data.images.values())
        console.print(f"  {split:<10} {patients:4} patients {images:6} images {share:6.1%}")
    if data.left_out:
        console.print(
            f"  left out: {data.left_out} images, second copies of a slide filed under two subtypes"
        )
    for note in data.split_notes:
        console.print(f"  note: {note}", soft_wrap=True)


def _print_outcome(console: Console, record: RunRecord) -> None:
    from rich import box
    from rich.table import Table

    from pipeline.evaluation.summary import SUMMARY_HEADER, summary_rows

    title = "synthetic data: not about tissue" if record.data.synthetic else None
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in SUMMARY_HEADER:
        is_text = name in ("candidate", "weights")
        # Two lines a heading, so that the table fits a terminal of 110 columns.
        table.add_column(name.replace(" ", "\n"), justify="left" if is_text else "right", overflow="fold")
    for row in summary_rows(record):
        table.add_row(*row)
    console.print(table)
    if record.refusals:
        console.print(f"not pushed: {record.winner} was refused: {'; '.join(record.refusals)}")
    elif record.pushed_version:
        console.print(f"served version: {record.pushed_version} in {record.pushed_folder}", soft_wrap=True)
        if not record.config["gate"]["minimum"]:
            console.print("no gate: gate.minimum is empty, so the winner is pushed however good it is")


def _print_prediction(console: Console, served: Path, images: Path) -> None:
    from pipeline.ingested_images import ingested_images
    from serving.client import Client
    from serving.dev_server import DevServer

    with DevServer(served, port=0) as server, Client(server.address) as client:
        ((path, image),) = ingested_images(images, count=1)
        (prediction,) = client.predict([image])
        console.print(
            f"asked the development server about {path.rpartition('/')[2]}: {prediction.label} "
            f"({prediction.positive_class} {prediction.score:.3f}), by version {prediction.model_version}",
            soft_wrap=True,
        )


@cli.command("sample-data")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--patients", default=24, show_default=True)
@click.option("--images-per-magnification", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
def sample_data(folder: Path, patients: int, images_per_magnification: int, seed: int) -> None:
    """Draw synthetic images in the BreaKHis layout into FOLDER."""
    from pipeline.sample_data import write_sample_data

    root = write_sample_data(
        folder, patients=patients, images_per_magnification=images_per_magnification, seed=seed
    )
    click.echo(f"synthetic images: {root}")


@cli.command("compile")
@_configured
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX has to say.")
def compile_(preset: str, file: Path | None, overrides: tuple[str, ...], output: Path, verbose: bool) -> None:
    """Compile the graph for Kubeflow Pipelines."""
    from pipeline.runners.screen import quiet_console
    from pipeline.workspace import Workspace

    config = _load(preset, file, overrides)
    if output.suffix != ".yaml":
        raise UserError(f"--output {output}: Kubeflow takes a file that ends in .yaml")
    with quiet_console(Workspace(config.output).log, verbose=verbose):
        from pipeline.preflight import check_split_file, check_weights

        check_weights(config)
        check_split_file(config)
        from pipeline.runners.kubeflow import compile_pipeline

        compile_pipeline(config, output.absolute())
    click.echo(f"compiled: {output}")
    if config.data_gate.drift:
        click.echo(
            "note: data_gate.drift has no effect there yet: nothing is remembered between runs", err=True
        )


@cli.command()
@click.argument(
    "models", type=click.Path(path_type=Path), default=Path(f"runs/demo/serving/{features.MODEL_NAME}")
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8500, show_default=True)
def serve(models: Path, host: str, port: int) -> None:
    """Serve the newest version in the folder MODELS over gRPC (a development server, not TF Serving)."""
    from serving.dev_server import DevServer

    with DevServer(models, host=host, port=port) as server:
        click.echo(f"development server: {features.MODEL_NAME} version {server.version} on {server.address}")
        click.echo("stop it with Ctrl-C")
        try:
            server.wait()
        except KeyboardInterrupt:
            click.echo("stopped")


@cli.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--server", default="localhost:8500", show_default=True, metavar="HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def predict(images: tuple[Path, ...], server: str, as_json: bool) -> None:
    """Ask a served model about image files."""
    from dataclasses import asdict

    from serving.client import Client

    with Client(server) as client:
        predictions = client.predict_files(images)
    for path, prediction in zip(images, predictions, strict=True):
        if as_json:
            click.echo(json.dumps({"image": str(path), **asdict(prediction)}))
        else:
            click.echo(f"{path}: {prediction.label} ({prediction.positive_class} {prediction.score:.3f})")


@cli.group()
def schema() -> None:
    """Compare the schema with data, and propose changes to it."""


def _of_data(command: click.decorators.FC) -> click.decorators.FC:
    """The options by which a schema command finds its data."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow and Beam have to say."),
        click.option(
            "--data", type=click.Path(path_type=Path), help="Images. Default: those of the last run."
        ),
    ):
        command = option(command)
    return _configured(command)


def _written(command: click.decorators.FC) -> click.decorators.FC:
    """The options of a schema command that writes a file."""
    for option in (
        click.option("--force", is_flag=True, help="Replace the file where there is one."),
        click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write."),
    ):
        command = option(command)
    return command


@schema.command("infer")
@_of_data
@_written
def schema_infer(output: Path, force: bool, **where: Any) -> None:
    """Write a schema that knows the data alone."""
    with _statistics(where, output=output, force=force) as (_, statistics):
        from pipeline.schema.propose import infer
        from pipeline.schema.text import render

        text = render(infer(statistics))
    _write(output, text)


@schema.command("diff")
@_of_data
def schema_diff(**where: Any) -> None:
    """Show what the schema would have to allow for the data to pass; exit with 1 where that is anything."""
    with _statistics(where) as (file, statistics):
        from pipeline.schema.diff import differences
        from pipeline.schema.propose import relax
        from pipeline.schema.text import read_schema

        curated = read_schema(file)
        lines = differences(curated, relax(curated, statistics))
    click.echo("\n".join(lines) if lines else f"{file.name} allows all of the data")
    sys.exit(1 if lines else 0)


@schema.command("update")
@_of_data
@_written
def schema_update(output: Path, force: bool, **where: Any) -> None:
    """Write the schema, loosened as far as the data need; its comments stay where they can."""
    with _statistics(where, output=output, force=force) as (file, statistics):
        from pipeline.schema.propose import relax
        from pipeline.schema.text import read_schema, rewrite

        text = rewrite(file.read_text(encoding="utf-8"), relax(read_schema(file), statistics))
    _write(output, text)


@contextmanager
def _statistics(
    where: dict[str, Any], *, output: Path | None = None, force: bool = False
) -> Iterator[tuple[Path, list[Any]]]:
    """The schema's file, and the statistics of each split of the data; the libraries are kept quiet."""
    from pipeline.runners.screen import quiet_console
    from pipeline.workspace import Workspace

    config = _load(where["preset"], where["file"], where["overrides"])
    if output and output.exists() and not force:
        raise UserError(f"--output {output}: there is such a file; --force replaces it")
    workspace = Workspace(config.output.resolve())
    kept = None if where["data"] else _kept_statistics(workspace)
    with quiet_console(workspace.log, verbose=where["verbose"]) as console:
        if kept:
            folder, file = kept.folder, config.data.schema_file or kept.schema
        else:
            from pipeline.preflight import prepare_data
            from pipeline.schema.schema_file import schema_file

            config = _with_source(config, where["data"])
            checked = prepare_data(config)
            file = schema_file(config, checked, workspace)
            console.print("starting TensorFlow and TFX")
            from pipeline.runners.local import count_data

            folder = count_data(config, checked, schema=file, console=console)
        from components.data_gate.split_files import read_statistics

        yield file, list(read_statistics(folder).values())


def _kept_statistics(workspace: Workspace) -> KeptStatistics:
    from pipeline.registry import RunRegistry

    kept = RunRegistry(workspace.registry).previous_statistics()
    if kept is None:
        raise UserError(f"no run has succeeded in {workspace.root} yet: give --data, or run first")
    return kept


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"written: {path}; use it with --set data.schema_file={path}")


@cli.group()
def data() -> None:
    """Get images, and look at what there is."""


@data.command()
@click.argument("source", type=click.Path(path_type=Path))
@_configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def describe(source: Path, preset: str, file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Count what is in SOURCE, and show the split and the problems that a run would meet.

    SOURCE is what `run --data` takes. Exit code 1 says that there are problems.
    """
    from dataclasses import asdict

    from rich.console import Console

    from pipeline.data.describe_data import describe_data
    from pipeline.data.print_description import print_description

    config = _load(preset, file, (*overrides, f"data.source={json.dumps(str(source))}"))
    with Console(stderr=True).status("looking at names and files"):
        description = describe_data(config)
    if as_json:
        click.echo(json.dumps(asdict(description), indent=2))
    else:
        print_description(description, console=Console(markup=False, highlight=False))
    sys.exit(1 if description.problems else 0)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--accept-terms", is_flag=True, help="You have read the terms of BreaKHis and accept them.")
def download(folder: Path, accept_terms: bool) -> None:
    """Fetch the official archive of BreaKHis into FOLDER and check it; a broken download goes on."""
    from rich.console import Console

    from pipeline.data import official_archive
    from pipeline.data.download_archive import download_archive
    from pipeline.data.progress_bar import progress_bar

    with progress_bar(Console(stderr=True)) as progress:
        archive = download_archive(
            folder,
            accept_terms=accept_terms,
            progress=progress,
            url=official_archive.URL,
            names=official_archive.official_names(),
        )
    click.echo(f"checked: {archive}; its SHA-256 is in {archive}.sha256")


@cli.group()
def config() -> None:
    """Look at configurations."""


@config.command("show")
@_configured
def config_show(preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print a configuration in full, defaults and overrides included."""
    from pipeline.config import dump_config

    click.echo(dump_config(_load(preset, file, overrides)), nl=False)
