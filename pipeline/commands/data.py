"""`knet data`: describe and download."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pipeline.commands.options import config_options, load


@click.group("data")
def command() -> None:
    """Get images, and look at what there is."""


@command.command()
@click.argument("source", type=click.Path(path_type=Path))
@config_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def describe(source: Path, preset: str, file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Count what is in SOURCE, and list its problems.

    The split is shown too. SOURCE is what `run --data` takes. Exit code 1 says that a run would meet
    problems.
    """
    from dataclasses import asdict

    from rich.console import Console

    from pipeline.describe import describe_data, print_description

    config = load(preset, file, (*overrides, f"data.source={json.dumps(str(source))}"))
    with Console(stderr=True).status("looking at names and files"):
        description = describe_data(config)
    if as_json:
        click.echo(json.dumps(asdict(description), indent=2))
    else:
        settings = str(file) if file else f"preset {preset}"
        print_description(description, settings=settings, console=Console(markup=False, highlight=False))
    sys.exit(1 if description.problems else 0)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--accept-terms", is_flag=True, help="You have read the terms of BreaKHis and accept them.")
def download(folder: Path, accept_terms: bool) -> None:
    """Fetch BreaKHis's archive into FOLDER, and check it.

    A download that broke off goes on.
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
