"""The commands of `knet kubeflow` that talk to a server of Kubeflow Pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands._options import configured, load
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.runners.kubeflow.upload import UploadedVersion

_PLACE = {
    "host": "URL of Kubeflow Pipelines, such as http://localhost:8888; by default kubeflow.host, "
    "$KF_PIPELINES_ENDPOINT, or inside a pod the server of its cluster.",
    "namespace": "The user's, where Kubeflow has several.",
    "experiment": "Under which runs are listed; the pipeline's name unless given.",
}


def _on_a_server(function: click.decorators.FC) -> click.decorators.FC:
    """The options that say where; without them the `kubeflow` section does."""
    for name, text in reversed(_PLACE.items()):
        function = click.option(f"--{name}", help=text)(function)
    return configured(function)


def _load(preset: str, file: Path | None, overrides: tuple[str, ...], **place: str | None) -> Config:
    from pipeline.runners.kubeflow.connect import server_url

    given = tuple(f"kubeflow.{name}={json.dumps(value)}" for name, value in place.items() if value)
    config = load(preset, file, (*overrides, *given))
    host = server_url(config.kubeflow.host)
    return config.model_copy(update={"kubeflow": config.kubeflow.model_copy(update={"host": host})})


_spec = click.argument("spec", type=click.Path(path_type=Path))
_parameters = click.option(
    "--param", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the run."
)
_pipeline = click.option("--pipeline", help="Its name; that of the configuration unless given.")
_stop_runs = click.option("--stop-runs", is_flag=True, help="End a run of the schedule that is going on.")


@click.command()
@_spec
@_on_a_server
@_parameters
def submit(spec: Path, given: tuple[str, ...], **where: Any) -> None:
    """Run a compiled graph on the cluster, once."""
    from pipeline.runners.kubeflow.connect import connect
    from pipeline.runners.kubeflow.read_compiled import read_compiled
    from pipeline.runners.kubeflow.run_parameters import run_parameters
    from pipeline.runners.kubeflow.submit import submit

    config = _load(**where).kubeflow
    parameters = run_parameters(read_compiled(spec), given)
    with connect(config.host, namespace=config.namespace) as client:
        run = submit(client, spec, config=config, parameters=parameters)
    _tell(run.version)
    click.echo(f"run: {run.name} ({run.run_id})")


@click.command()
@_spec
@_on_a_server
@_parameters
@click.option(
    "--cron",
    help='When, in UTC: minute hour day month weekday, such as "0 2 * * *"; a second may stand before them.',
)
@_stop_runs
def schedule(spec: Path, given: tuple[str, ...], cron: str | None, stop_runs: bool, **where: Any) -> None:
    """Run a compiled graph regularly, in place of what was scheduled under its name.

    The same again changes nothing. Times that were missed are not made up for, and no two runs go on at once.
    """
    from pipeline.runners.kubeflow.connect import connect
    from pipeline.runners.kubeflow.read_compiled import read_compiled
    from pipeline.runners.kubeflow.run_parameters import run_parameters
    from pipeline.runners.kubeflow.schedule import schedule

    config = _load(**where, cron=cron).kubeflow
    if config.cron is None:
        raise UserError('say when: --cron "0 2 * * *" is every night at two; or set kubeflow.cron')
    parameters = run_parameters(read_compiled(spec), given)
    with connect(config.host, namespace=config.namespace) as client:
        made = schedule(client, spec, config=config, parameters=parameters, stop_runs=stop_runs)
    _tell(made.version)
    what = f"{made.version.pipeline} ({made.recurring_run_id}), {config.cron} UTC"
    if not made.new:
        click.echo(f"scheduled already: {what}")
    else:
        click.echo(f"scheduled: {what}" + (f", instead of {made.replaced} before" if made.replaced else ""))


@click.command()
@_on_a_server
@_pipeline
@_stop_runs
def unschedule(pipeline: str | None, stop_runs: bool, **where: Any) -> None:
    """Take a pipeline off its schedule."""
    from pipeline.runners.kubeflow.connect import connect
    from pipeline.runners.kubeflow.schedule import unschedule

    config = _load(**where)
    name = pipeline or config.name
    with connect(config.kubeflow.host, namespace=config.kubeflow.namespace) as client:
        count = unschedule(client, name, config=config.kubeflow, stop_runs=stop_runs)
    click.echo(f"{name}: {'off the schedule' if count else 'was on no schedule'}")


@click.command()
@_on_a_server
@_pipeline
@click.option("--last", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many runs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of a table.")
@click.pass_context
def status(ctx: click.Context, pipeline: str | None, last: int, as_json: bool, **where: Any) -> None:
    """Show a pipeline's schedule and last runs; exit code 1 where the last that ended did not succeed."""
    from pipeline.commands._console import console
    from pipeline.runners.kubeflow.connect import connect
    from pipeline.runners.kubeflow.status import status
    from pipeline.runners.kubeflow.status_text import status_json, status_table

    config = _load(**where)
    with connect(config.kubeflow.host, namespace=config.kubeflow.namespace) as client:
        found = status(client, pipeline or config.name, config=config.kubeflow, last=last)
    if as_json:
        click.echo(status_json(found))
    else:
        for made in found.schedules or (None,):
            click.echo(f"schedule: {made or 'none'}")
        console().print(status_table(found))
    if not found.good:
        ctx.exit(1)


def _tell(version: UploadedVersion) -> None:
    known = "new" if version.new else "known already"
    click.echo(f"pipeline: {version.pipeline}, version {version.version} ({known})")
