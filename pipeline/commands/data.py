"""`knet data`: describe and download data sets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pipeline.commands.options import config_options, load


@click.group("data")
def command() -> None:
    """Describe and download data sets."""


@command.command()
@click.argument("source", type=click.Path(path_type=Path))
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def describe(source: Path, preset: str, file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Describe the data in SOURCE: counts, split and problems.

    SOURCE is a value of `run --data`. Exits with 1 if a run would have problems.
    """
    from dataclasses import asdict

    from rich.console import Console

    from pipeline.describe import describe_data, print_description

    config = load(preset, file, (*overrides, f"data.source={json.dumps(str(source))}"))
    with Console(stderr=True).status("reading names and files"):
        description = describe_data(config)
    if as_json:
        click.echo(json.dumps(asdict(description), indent=2))
    else:
        settings = str(file) if file else f"preset {preset}"
        print_description(description, settings=settings, console=Console(markup=False, highlight=False))
    sys.exit(1 if description.problems else 0)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--accept-terms", is_flag=True, help="Confirm that you have read and accept the terms of BreaKHis."
)
def download(folder: Path, accept_terms: bool) -> None:
    """Download the BreaKHis archive into FOLDER, and check it.

    Resumes an interrupted download.
    """
    from rich.console import Console

    from knet.base.progress import progress_bar
    from knet.data import download
    from knet.data.download import download_archive

    with progress_bar(Console(stderr=True)) as progress:
        archive = download_archive(
            folder,
            accept_terms=accept_terms,
            progress=progress,
            url=download.URL,
            names=download.official_names(),
        )
    click.echo(f"checked: {archive}; its SHA-256 is in {archive}.sha256")
