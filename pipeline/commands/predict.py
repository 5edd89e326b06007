"""`knet predict`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("predict")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--server", default="localhost:8500", show_default=True, metavar="HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(images: tuple[Path, ...], server: str, as_json: bool) -> None:
    """Ask a served model about image files."""
    from dataclasses import asdict

    from serving.client import Client

    with Client(server) as client:
        predictions = client.predict_files(images)
    for path, prediction in zip(images, predictions, strict=True):
        if as_json:
            click.echo(json.dumps({"image": str(path), **asdict(prediction)}))
        else:
            doubt = "" if prediction.in_distribution else f"; not reliable: {', '.join(prediction.reasons)}"
            click.echo(
                f"{path}: {prediction.label} ({prediction.positive_class} {prediction.score:.3f}){doubt}"
            )
