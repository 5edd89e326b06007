"""The command `knet monitor`: compare request logs with the training data of the served models."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import schemas
from knet.base.errors import UserError
from pipeline.commands.options import UserPath, config_options, load, renamed_option, verbose_option


@click.command("monitor")
@click.argument("log", nargs=-1, required=True, type=UserPath(path_type=Path))
@config_options
@click.option(
    "--statistics",
    type=UserPath(path_type=Path),
    help="StatisticsGen's folder of the training images. Default: of the run that pushed each version.",
)
@click.option(
    "--predictions",
    type=UserPath(path_type=Path),
    help="Parquet file with the scores to compare with; needs --statistics.",
)
@click.option(
    "--baseline-log",
    type=UserPath(path_type=Path),
    help="Request log of an earlier period to measure drift from.",
)
@click.option("--version", type=int, help="Analyze this model version only.")
@click.option(
    "--min-images",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Images needed to analyze a version.",
)
@click.option(
    "--max-ood-share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Largest accepted share of images flagged as out of distribution.",
)
@renamed_option("--before", "--baseline-log")
@renamed_option("--least", "--min-images")
@renamed_option("--doubted", "--max-ood-share")
@click.option(
    "--page",
    type=UserPath(path_type=Path),
    help="HTML page to write. Default: monitor.html in the output folder.",
)
@click.option(
    "--metrics", type=UserPath(path_type=Path), help="Also write gauges to a .prom file for Prometheus."
)
@verbose_option
def command(
    log: tuple[Path, ...],
    preset: str,
    file: Path | None,
    overrides: tuple[str, ...],
    statistics: Path | None,
    predictions: Path | None,
    baseline_log: Path | None,
    version: int | None,
    min_images: int,
    max_ood_share: float,
    page: Path | None,
    metrics: Path | None,
    verbose: bool,
) -> None:
    """Compare requests to served models with their training and evaluation data.

    LOG is a request log: a folder, or files of one. Exits with 1 if the images, the scores or the share of
    out-of-distribution images have drifted.
    """
    if predictions and not statistics:
        raise UserError("--predictions needs --statistics: name the statistics of the training images too")
    from knet.runs.workspace import Workspace
    from knet.serving.monitoring.read_log import read_log
    from pipeline.runners.console import quiet_console

    config = load(preset, file, overrides)
    workspace = Workspace(config.output.resolve())
    requests = read_log(log).of_version(version)
    baseline = read_log([baseline_log]) if baseline_log else None
    with quiet_console(workspace.log, verbose=verbose) as console:
        console.print("starting TensorFlow Data Validation")
        from knet.serving.monitoring.analysis import find_schema, load_reference, reference_of_version
        from knet.serving.monitoring.monitor import (
            analyze_log,
            versions_table,
            write_metrics,
            write_monitor_page,
        )

        reference = load_reference(statistics, predictions) if statistics else None
        report = analyze_log(
            requests,
            reference_of=lambda number: reference or reference_of_version(number, workspace),
            schema=find_schema(config.data.schema_file, workspace, default=schemas.BREAKHIS),
            min_images=min_images,
            max_ood_share=max_ood_share,
            baseline=baseline,
        )
        page = page or workspace.monitor_page
        write_monitor_page(page, report, title=", ".join(map(str, log)))
        if metrics:
            write_metrics(metrics, report)
        console.print(versions_table(report))
        for line in report.lines:
            console.print(line, soft_wrap=True)
        console.print(f"page: {page}", soft_wrap=True)
    sys.exit(1 if report.drifted else 0)
