"""`knet kubeflow`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.errors import UserError
from pipeline.commands.options import config_options, load

if TYPE_CHECKING:
    from pipeline.config.config import Config
    from pipeline.kubeflow.server import UploadedVersion


@click.group("kubeflow")
def command() -> None:
    """Compile the graph for Kubeflow Pipelines, try it without a cluster, run and schedule it on one."""


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
    return config_options(function)


_spec = click.argument("spec", type=click.Path(path_type=Path))
_parameters = click.option(
    "--param", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the run."
)


@click.command()
@_spec
@_on_a_server
@_parameters
def submit(spec: Path, given: tuple[str, ...], **where: Any) -> None:
    """Run a compiled graph on the cluster, once."""
    from pipeline.kubeflow.compiled import read_compiled, run_parameters
    from pipeline.kubeflow.server import connect, submit

    config = _load(**where).kubeflow
    parameters = run_parameters(read_compiled(spec), given)
    with connect(config.host, namespace=config.namespace) as client:
        run = submit(client, spec, config=config, parameters=parameters)
    _tell(run.version)
    click.echo(f"run: {run.name} ({run.run_id})")


_stop_runs = click.option("--stop-runs", is_flag=True, help="End a run of the schedule that is going on.")


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
    from pipeline.kubeflow.compiled import read_compiled, run_parameters
    from pipeline.kubeflow.schedule import schedule
    from pipeline.kubeflow.server import connect

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


_pipeline = click.option("--pipeline", help="Its name; that of the configuration unless given.")


@click.command()
@_on_a_server
@_pipeline
@_stop_runs
def unschedule(pipeline: str | None, stop_runs: bool, **where: Any) -> None:
    """Take a pipeline off its schedule."""
    from pipeline.kubeflow.schedule import unschedule
    from pipeline.kubeflow.server import connect

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
    from pipeline.commands.options import console
    from pipeline.kubeflow.schedule import status, status_json, status_table
    from pipeline.kubeflow.server import connect

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


for _command in (schedule, status, submit, unschedule):
    command.add_command(_command)


@command.command("compile")
@config_options
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX has to say.")
def compile_(preset: str, file: Path | None, overrides: tuple[str, ...], output: Path, verbose: bool) -> None:
    """Write the graph as YAML that Kubeflow Pipelines 2 takes."""
    from knet.runs.workspace import Workspace
    from pipeline.runners.console import quiet_console

    config = load(preset, file, overrides)
    if output.suffix != ".yaml":
        raise UserError(f"--output {output}: Kubeflow takes a file that ends in .yaml")
    with quiet_console(Workspace(config.output).log, verbose=verbose):
        from pipeline.preflight import check_split_file, check_weights

        check_weights(config)
        check_split_file(config)
        from pipeline.kubeflow.compiler import compile_pipeline

        compile_pipeline(config, output.absolute())
    click.echo(f"compiled: {output}")
    for field in config.kubeflow.ephemeral_paths:
        place = getattr(config.kubeflow, field)
        click.echo(f"note: kubeflow.{field}, {place}, is on no volume: it goes with the container", err=True)


@command.command()
@click.argument("spec", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Instead of the spec's own.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("runs/kubeflow"),
    show_default=True,
    help="Where buckets, the cache and the logs are kept.",
)
@click.option(
    "--param", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the run, such as epochs=5."
)
@click.option(
    "--store",
    metavar="s3://BUCKET/FOLDER",
    help="Keep artifacts in a real object store; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open it.",
)
@click.option("--endpoint", metavar="URL", help="Of the server of S3, where it is not Amazon's.")
def simulate(
    spec: Path, data: Path | None, root: Path, given: tuple[str, ...], store: str | None, endpoint: str | None
) -> None:
    """Run a compiled graph on this machine as a cluster would, a process for each container.

    The paths in the spec, such as that of the schema, must be there on this machine too.
    """
    import time
    from datetime import datetime, timezone

    import yaml

    from pipeline.kubeflow.compiled import run_parameters
    from pipeline.kubeflow.simulator import NodeResult, Simulator

    document, platform = yaml.safe_load_all(spec.read_text(encoding="utf-8"))
    values = run_parameters(document, given)
    if data:
        values["data_source"] = str(data.absolute())
    if endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    start = time.monotonic()

    def tell(result: NodeResult) -> None:
        click.echo(f"{time.monotonic() - start:7.1f} s  {result.node}: {result.state}")

    run_id = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    Simulator(root, run_id=run_id, real_buckets=store is not None, told=tell).run(
        document,
        pipeline_root=store or document["defaultPipelineRoot"],
        platform=platform,
        parameters=values,
    )


def _load(preset: str, file: Path | None, overrides: tuple[str, ...], **place: str | None) -> Config:
    from pipeline.kubeflow.server import server_url

    given = tuple(f"kubeflow.{name}={json.dumps(value)}" for name, value in place.items() if value)
    config = load(preset, file, (*overrides, *given))
    host = server_url(config.kubeflow.host)
    return config.model_copy(update={"kubeflow": config.kubeflow.model_copy(update={"host": host})})


def _tell(version: UploadedVersion) -> None:
    known = "new" if version.new else "known already"
    click.echo(f"pipeline: {version.pipeline}, version {version.version} ({known})")
