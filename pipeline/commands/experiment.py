"""`knet experiment`: the cross-validation of candidates, and the comparison of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import UserPath, config_options, load, overrides_option, verbose_option

if TYPE_CHECKING:
    from rich.console import Console

    from knet.runs.record import Data
    from pipeline.config.config import Config


_data_option = click.option(
    "--data", type=UserPath(path_type=Path), help="Images, as for `knet run`. Default: synthetic ones."
)
_folds_option = click.option(
    "--folds",
    type=click.IntRange(2, 20),
    help="Folds of patients. Default: data.split.folds, or 5.",
)
_repeats_option = click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Seeds of splits and trainings, from that of the configuration.",
)
_probe_option = click.option(
    "--probe",
    metavar="CANDIDATE",
    help="Add a logistic regression on the frozen features of this candidate's backbone, named probe.",
)


@click.group("experiment")
def command() -> None:
    """Train and compare many models."""


@command.command()
@config_options
@_data_option
@_folds_option
@_repeats_option
@_probe_option
@click.option(
    "--baseline", metavar="CANDIDATE", help="Compare every other with this one. Default: each with each."
)
@click.option(
    "--external",
    metavar="DATA",
    type=UserPath(path_type=Path),
    help="Also test on other images, such as those of another scanner.",
)
@verbose_option
def folds(
    preset: str,
    file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    folds: int | None,
    repeats: int,
    probe: str | None,
    baseline: str | None,
    external: Path | None,
    verbose: bool,
) -> None:
    """Compare the candidates of a configuration by cross-validation over patients.

    Trains them on every fold as `knet run` does, down to their evaluation; no model is pushed. An experiment
    that was stopped continues when it is started again. Results are below the folder `folds` of the output.
    """
    from pipeline.experiments.external import open_external
    from pipeline.experiments.folds_folder import claim_results, results_folder

    load_with = _loader(preset, file, overrides, data)
    with (
        _prepared_folds(load_with, folds, probe=probe, baseline=baseline, verbose=verbose) as prepared,
        open_external(external, prepared.first) if external else nullcontext() as images,
    ):
        claim_results(
            prepared.first, folds=prepared.number, probe=probe, fingerprint=prepared.data.fingerprint
        )
        prepared.start()
        from pipeline.experiments.folds import cross_validate
        from pipeline.experiments.folds_page import write_folds_page

        experiment = cross_validate(
            load_with,
            prepared.data,
            folds=prepared.number,
            repeats=repeats,
            probe=probe,
            console=prepared.console,
            external=images,
        )
        page = write_folds_page(results_folder(prepared.first), experiment, baseline=baseline)
        prepared.console.print(
            f"written: {page}, with the chart, the figures and the predictions", soft_wrap=True
        )


@command.command()
@config_options
@_data_option
@_folds_option
@_repeats_option
@_probe_option
@verbose_option
def leak(
    preset: str,
    file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    folds: int | None,
    repeats: int,
    probe: str | None,
    verbose: bool,
) -> None:
    """Measure how much a split that divides patients raises the metrics.

    Trains the candidates of a configuration on folds of images, of slide folders and of patients; no model is
    pushed. Results are below the folder `leak` of the output.
    """
    load_with = _loader(preset, file, overrides, data)
    with _prepared_folds(load_with, folds, probe=probe, baseline=None, verbose=verbose) as prepared:
        prepared.start()
        from pipeline.experiments.leak import measure_leak, write_leak_page

        experiments = measure_leak(
            load_with,
            prepared.data,
            folds=prepared.number,
            repeats=repeats,
            probe=probe,
            console=prepared.console,
        )
        page = write_leak_page(prepared.first.output / "leak", experiments)
        prepared.console.print(f"written: {page}, with the figures", soft_wrap=True)


def _loader(
    preset: str, file: Path | None, overrides: Sequence[str], data: Path | None
) -> Callable[[Sequence[str]], Config]:
    """Return a function that loads the configuration with further overrides."""
    source = [f"data.source={json.dumps(str(data))}"] if data else []
    return lambda further: load(preset, file, [*overrides, *source, *further])


@dataclass(frozen=True)
class _PreparedFolds:
    """A cross-validation whose options and data are checked."""

    first: Config  # of the first fold
    number: int
    data: Data
    console: Console

    def start(self) -> None:
        """Fetch weights, and say that the imports which take long begin."""
        from pipeline.preflight import fetch_weights

        fetch_weights(self.first)
        self.console.print("starting TensorFlow and TFX")


@contextmanager
def _prepared_folds(
    load_with: Callable[[Sequence[str]], Config],
    folds: int | None,
    *,
    probe: str | None,
    baseline: str | None,
    verbose: bool,
) -> Iterator[_PreparedFolds]:
    """Check the options of a cross-validation, lock its output and check its data."""
    from pipeline.experiments.folds_folder import DEFAULT_FOLDS, check_options

    config = load_with([])
    check_options(config, probe=probe, baseline=baseline)
    number = folds or config.data.split.folds or DEFAULT_FOLDS
    first = load_with([f"data.split.folds={number}", "data.split.fold=0"])
    with _console(first, verbose=verbose) as (console, data):
        yield _PreparedFolds(first, number, data, console)


@command.command()
@_data_option
@click.option(
    "--scale",
    type=click.Choice(("full", "smoke")),
    default="full",
    show_default=True,
    help="Size of the experiment; smoke trains two small models.",
)
@overrides_option
@verbose_option
def paper(data: Path | None, scale: str, overrides: tuple[str, ...], verbose: bool) -> None:
    """Compare the paper's models after several numbers of epochs, and draw its figures.

    Each model is trained once to 200 epochs, and its weights are evaluated on the way. The full scale needs a
    GPU for days. The smoke scale takes minutes; its figures say nothing about the
    models.
    """
    from pipeline.experiments.paper import load_paper_config

    named = [f"data.source={json.dumps(str(data))}"] if data else []
    overrides = (f"output=runs/paper-{scale}", *named, *overrides)
    config = load_paper_config(scale, overrides)
    with _console(config, verbose=verbose) as (console, _):
        console.print("starting TensorFlow and TFX")
        from pipeline.experiments.paper import run_paper
        from pipeline.experiments.paper_page import write_paper_page

        page = write_paper_page(config.output, run_paper(scale, overrides, console=console))
        console.print(f"page: {page}", soft_wrap=True)


@contextmanager
def _console(config: Config, *, verbose: bool) -> Iterator[tuple[Console, Data]]:
    """Lock the output, check data and weights files, and yield a console and the data.

    TensorFlow is not imported yet.
    """
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
        yield console, prepare_data(config)
