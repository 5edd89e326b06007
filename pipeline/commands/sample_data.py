"""`knet sample-data`: synthetic images."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import UserPath


@click.command("sample-data")
@click.argument("folder", type=UserPath(path_type=Path))
@click.option("--patients", default=24, show_default=True, help="Synthetic patients, 8 or more.")
@click.option(
    "--images-per-magnification", default=1, show_default=True, help="Images of each slide and magnification."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the images.")
def command(folder: Path, patients: int, images_per_magnification: int, seed: int) -> None:
    """Write synthetic images in the BreaKHis layout into FOLDER."""
    from knet.data.sample_data import write_sample_data

    root = write_sample_data(
        folder, patients=patients, images_per_magnification=images_per_magnification, seed=seed
    )
    click.echo(f"synthetic images: {root}")
