"""`knet data`: describe and download data sets, and draft manifests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pipeline.commands.options import UserPath, config_options, load


@click.group("data")
def command() -> None:
    """Describe and download data sets, and draft manifests."""


@command.command()
@click.argument("source", type=UserPath(path_type=Path))
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def describe(source: Path, preset: str, file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Describe the data in SOURCE: counts, split and problems.

    SOURCE is a value of `run --data`. Exits with 1 if a run would have problems.
    """
    from dataclasses import asdict

    from rich.console import Console

    from pipeline.config.load import configuration_name
    from pipeline.describe import describe_data, print_description

    config = load(preset, file, (*overrides, f"data.source={json.dumps(str(source))}"))
    with Console(stderr=True).status("reading names and files"):
        description = describe_data(config)
    if as_json:
        click.echo(json.dumps(asdict(description), indent=2))
    else:
        settings = configuration_name(file or preset)
        print_description(description, settings=settings, console=Console(markup=False, highlight=False))
    sys.exit(1 if description.problems else 0)


@command.command()
@click.argument("folder", type=UserPath(path_type=Path))
@click.option(
    "--label-from",
    "label_pattern",
    default=r"([^/]+)/[^/]+$",
    show_default="the folder of the image",
    metavar="REGEX",
    help="Pattern of the path below FOLDER; its group in parentheses is the label.",
)
@click.option(
    "--group-from",
    "group_pattern",
    metavar="REGEX",
    help="The same for the group, such as the patient. Default: the patients of BreaKHis's file names.",
)
@click.option("--output", type=UserPath(path_type=Path), help="CSV file to write. Default: a preview alone.")
def manifest(folder: Path, label_pattern: str, group_pattern: str | None, output: Path | None) -> None:
    """Draft a manifest of the images below FOLDER, and count its labels and groups.

    A run never splits a group across train, validation and test. For a tree such as
    train/benign/P12_slide3.png: --group-from '([^/_]+)_[^/]*$'
    """
    from knet.base.errors import UserError
    from knet.base.text import counted
    from knet.data.manifest_draft import draft_manifest

    draft = draft_manifest(folder, label_pattern=label_pattern, group_pattern=group_pattern)
    for path, label, group in draft.rows[:_PREVIEW]:
        click.echo(f"{path}: {label}, group {group}")
    if len(draft.rows) > _PREVIEW:
        click.echo(f"... and {len(draft.rows) - _PREVIEW} more")
    for label, (images, groups) in draft.counts.items():
        click.echo(f"{label}: {counted(images, 'image')}, {counted(groups, 'group')}")
    for note in draft.notes:
        click.echo(f"note: {note}")
    if output is None:
        click.echo("nothing written: give --output FILE.csv")
        return
    if output.suffix.lower() != ".csv":
        raise UserError(f"--output {output}: a manifest ends in .csv")
    draft.write(output)
    settings = f"--set data.root={folder} --set 'data.classes=[{', '.join(draft.counts)}]'"
    click.echo(f"written: {output}; knet run --data {output} {settings}")


_PREVIEW = 5  # rows shown


@command.command()
@click.argument("folder", type=UserPath(path_type=Path))
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
