"""`knet cache`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._options import configured, load


@click.command("cache")
@configured
@click.option(
    "--remove-unused", type=click.FloatRange(min=0), metavar="DAYS", help="Remove what was not used for long."
)
def command(preset: str, file: Path | None, overrides: tuple[str, ...], remove_unused: float | None) -> None:
    """Show what runs keep, and remove what is not used.

    That is feature maps of frozen blocks, and states of trainings that have not ended. Remove only when
    nothing runs; what is needed again is computed again.
    """
    from pipeline import kept_files
    from pipeline.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    if remove_unused is None:
        files = kept_files.kept_files(workspace)
    else:
        files = kept_files.remove_unused(workspace, days=remove_unused)
    for kept in files:
        click.echo(
            f"{kept.size / 1e6:9.1f} MB  unused {kept.unused_days:5.1f} days  {kept.kind}: {kept.path}"
        )
    total = f"{sum(kept.size for kept in files) / 1e9:.2f} GB in {len(files)} files"
    click.echo(f"kept: {total}" if remove_unused is None else f"removed: {total}")
