"""`knet monitor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import schemas
from knet.base.errors import UserError
from pipeline.commands.options import config_options, load


@click.command("monitor")
@click.argument("log", nargs=-1, required=True, type=click.Path(path_type=Path))
@config_options
@click.option(
    "--statistics",
    type=click.Path(path_type=Path),
    help="StatisticsGen's folder of the training images. Default: of the run that pushed each version.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Parquet with the scores to compare with; goes with --statistics.",
)
@click.option("--before", type=click.Path(path_type=Path), help="An earlier log, to look for drift from it.")
@click.option("--version", type=int, help="Judge one model version only.")
@click.option(
    "--least",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Images needed to judge a version.",
)
@click.option(
    "--doubted",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of doubted images that is still well.",
)
@click.option("--page", type=click.Path(path_type=Path), help="Default: monitor.html in the output folder.")
@click.option("--metrics", type=click.Path(path_type=Path), help="Also write a .prom file for Prometheus.")
@click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow has to say.")
def command(
    log: tuple[Path, ...],
    preset: str,
    file: Path | None,
    overrides: tuple[str, ...],
    statistics: Path | None,
    predictions: Path | None,
    before: Path | None,
    version: int | None,
    least: int,
    doubted: float,
    page: Path | None,
    metrics: Path | None,
    verbose: bool,
) -> None:
    """Compare what served models were asked with what they were made for.

    LOG is a request log, a folder or files of it. Exit code 1 says that the images, the scores or the share
    of doubted images have drifted.
    """
    if predictions and not statistics:
        raise UserError("--predictions: say with --statistics too what the images are compared with")
    from knet.runs.workspace import Workspace
    from knet.serving.monitoring.read_log import read_log
    from pipeline.runners.console import quiet_console

    config = load(preset, file, overrides)
    workspace = Workspace(config.output.resolve())
    logged = read_log(log).of_version(version)
    earlier = read_log([before]) if before else None
    with quiet_console(workspace.log, verbose=verbose) as console:
        console.print("starting TensorFlow Data Validation")
        from knet.serving.monitoring.analysis import given_reference, reference_of, schema_of
        from knet.serving.monitoring.monitor import monitor, monitor_table, write_metrics, write_monitor_page

        given = given_reference(statistics, predictions) if statistics else None

        monitored = monitor(
            logged,
            reference_of=lambda number: given or reference_of(number, workspace),
            schema=schema_of(config.data.schema_file, workspace, default=schemas.BREAKHIS),
            least=least,
            doubted_limit=doubted,
            earlier=earlier,
        )
        page = page or workspace.monitor_page
        write_monitor_page(page, monitored, title=", ".join(map(str, log)))
        if metrics:
            write_metrics(metrics, monitored)
        console.print(monitor_table(monitored))
        for line in monitored.lines:
            console.print(line, soft_wrap=True)
        console.print(f"page: {page}", soft_wrap=True)
    sys.exit(1 if monitored.drifted else 0)
