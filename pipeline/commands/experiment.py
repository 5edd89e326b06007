"""`knet experiment`: the cross-validation of variants, and the comparison of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.errors import UserError
from pipeline.commands.options import overrides_option, verbose_option

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config.config import Config


@click.group("experiment")
def command() -> None:
    """Train and compare many models."""


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all experiments."""
    return overrides_option(verbose_option(function))


@command.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Images, as for `knet run`.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Weights of MobileNet (alpha 0.75) without top: imagenet (downloaded), or a file.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    default=Path("results.md"),
    show_default=True,
    help="Markdown file to write, with a .json file beside it.",
)
@_options
def results(data: Path, weights: str, page: Path, overrides: tuple[str, ...], verbose: bool) -> None:
    """Compare hybrid, ablations and a linear probe by cross-validation over patients.

    Settings: pipeline/experiments/results.yaml.
    """
    from pipeline.config.load import load_config
    from pipeline.experiments.cross_validation import SETTINGS

    if page.suffix != ".md":
        raise UserError(f"--page {page}: the page is Markdown, its name must end in .md")
    named = {"data.source": str(data), "candidates.mobilenet.weights": weights}
    overrides = (*(f"{key}={json.dumps(value)}" for key, value in named.items()), *overrides)
    config = load_config(SETTINGS, overrides)
    with _console(config, verbose=verbose) as console:
        from pipeline.experiments.results_page import run_results, write_results_page

        write_results_page(page, run_results(config, overrides, console=console))
        console.print(f"written: {page} and {page.with_suffix('.json').name}", soft_wrap=True)


@command.command()
@click.option(
    "--data", type=click.Path(path_type=Path), help="Images, as for `knet run`. Default: synthetic ones."
)
@click.option(
    "--scale",
    type=click.Choice(("full", "smoke")),
    default="full",
    show_default=True,
    help="Size of the experiment; smoke trains two small models.",
)
@_options
def paper(data: Path | None, scale: str, overrides: tuple[str, ...], verbose: bool) -> None:
    """Compare the paper's models after several numbers of epochs, and draw its figures.

    The full scale needs a GPU for days. The smoke scale takes minutes; its figures say nothing about the
    models.
    """
    from pipeline.config.load import load_config
    from pipeline.experiments.paper import SCALES

    named = [f"data.source={json.dumps(str(data))}"] if data else []
    overrides = (f"output=runs/paper-{scale}", *named, *overrides)
    config = load_config(SCALES[scale].preset, (*SCALES[scale].overrides, *overrides))
    with _console(config, verbose=verbose) as console:
        from pipeline.experiments.paper import run_paper
        from pipeline.experiments.paper_page import write_paper_page

        page = write_paper_page(config.output, run_paper(scale, overrides, console=console))
        console.print(f"page: {page}", soft_wrap=True)


@contextmanager
def _console(config: Config, *, verbose: bool) -> Iterator[Console]:
    """Lock the output, check data and weights files, and yield a console before TensorFlow is imported."""
    from knet.runs.active_run import lock_output
    from knet.runs.workspace import Workspace
    from pipeline.runners.console import quiet_console

    workspace = Workspace(config.output)
    with (
        lock_output(workspace, phase="the experiment") as run,
        quiet_console(workspace.log, verbose=verbose, on_stop=run.interrupt) as console,
    ):
        from pipeline.preflight import check_weights, prepare_data

        check_weights(config)
        prepare_data(config)
        console.print("starting TensorFlow and TFX")
        yield console
