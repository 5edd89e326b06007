"""`knet kubeflow`: compile, simulate, submit and schedule the pipeline, and show its runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.errors import UserError
from pipeline.commands.options import (
    UserPath,
    config_options,
    confirm_refusal,
    load,
    remark_options,
    verbose_option,
    yes_option,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config.config import Config
    from pipeline.kubeflow.server import UploadedVersion


@click.group("kubeflow")
def command() -> None:
    """Compile the pipeline for Kubeflow Pipelines; simulate, run and schedule it."""


_SERVER_OPTIONS = {
    "host": "URL of Kubeflow Pipelines, such as http://localhost:8888. Default: kubeflow.host, "
    "$KF_PIPELINES_ENDPOINT, or in a pod the server of its cluster.",
    "namespace": "Namespace of the user in a multi-user Kubeflow. Default: kubeflow.namespace.",
    "experiment": "Experiment that lists the runs. Default: kubeflow.experiment, or the pipeline's name.",
}


def _server_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options of commands that call the server; they override the `kubeflow` section."""
    for name, text in reversed(_SERVER_OPTIONS.items()):
        function = click.option(f"--{name}", help=text)(function)
    return config_options(function)


_spec_argument = click.argument("spec", type=UserPath(path_type=Path))


def _run_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options that set parameters of a run; `_parameters` reads the values."""
    text = "Set a parameter of the run."
    function = remark_options(function)
    return click.option("--param", "assignments", multiple=True, metavar="NAME=VALUE", help=text)(function)


def _parameters(
    spec: Mapping[str, Any], assignments: Sequence[str], *, note: str, tags: Sequence[str]
) -> dict[str, Any]:
    """Return the parameters of a run that the options set."""
    from pipeline.kubeflow.compiled import run_parameters

    remarks = [f"note={note}"] if note else []
    if tags:
        remarks.append(f"tags={json.dumps(tags)}")
    return run_parameters(spec, [*assignments, *remarks])


@click.command()
@_spec_argument
@_server_options
@_run_options
@click.option(
    "--no-cache", is_flag=True, help="Run every node; later runs reuse these results, not older ones."
)
@yes_option
def submit(
    spec: Path,
    assignments: tuple[str, ...],
    note: str,
    tags: tuple[str, ...],
    no_cache: bool,
    yes: bool,
    **server: Any,
) -> None:
    """Submit one run of a compiled pipeline."""
    from pipeline.kubeflow.compiled import read_compiled
    from pipeline.kubeflow.server import connect, submit

    config = _load(**server).kubeflow
    if no_cache:
        assignments = (*assignments, "cache=false")
    if yes:
        assignments = (*assignments, "confirmed=true")
    parameters = _parameters(read_compiled(spec), assignments, note=note, tags=tags)
    with connect(config) as client:
        run = submit(client, spec, config=config, parameters=parameters)
    _print_version(run.version)
    click.echo(f"run: {run.name} ({run.run_id})")


_stop_runs_option = click.option("--stop-runs", is_flag=True, help="End an active run of the schedule.")


@click.command()
@_spec_argument
@_server_options
@_run_options
@click.option(
    "--cron",
    help='Cron expression in UTC: minute hour day month weekday, such as "0 2 * * *"; a sixth field in '
    "front is the second. Default: kubeflow.cron.",
)
@_stop_runs_option
def schedule(
    spec: Path,
    assignments: tuple[str, ...],
    note: str,
    tags: tuple[str, ...],
    cron: str | None,
    stop_runs: bool,
    **server: Any,
) -> None:
    """Schedule a compiled pipeline, replacing the schedule of the same name.

    An identical schedule stays as it is. No catch-up of missed runs; one run at a time.
    """
    from pipeline.kubeflow.compiled import read_compiled
    from pipeline.kubeflow.schedule import schedule
    from pipeline.kubeflow.server import connect

    config = _load(**server, cron=cron).kubeflow
    if config.cron is None:
        raise UserError('kubeflow.cron is not set: give --cron, such as "0 2 * * *" for every night at two')
    parameters = _parameters(read_compiled(spec), assignments, note=note, tags=tags)
    with connect(config) as client:
        scheduled = schedule(client, spec, config=config, parameters=parameters, stop_runs=stop_runs)
    _print_version(scheduled.version)
    text = f"{scheduled.version.pipeline} ({scheduled.recurring_run_id}), {config.cron} UTC"
    if not scheduled.new:
        click.echo(f"scheduled already: {text}")
    else:
        replaced = f", replacing {scheduled.replaced}" if scheduled.replaced else ""
        click.echo(f"scheduled: {text}{replaced}")


_pipeline_option = click.option(
    "--pipeline", help="Name of the pipeline. Default: that of the configuration."
)


@click.command()
@_server_options
@_pipeline_option
@_stop_runs_option
def unschedule(pipeline: str | None, stop_runs: bool, **server: Any) -> None:
    """Delete the schedule of a pipeline."""
    from pipeline.kubeflow.schedule import unschedule
    from pipeline.kubeflow.server import connect

    config = _load(**server)
    name = pipeline or config.name
    with connect(config.kubeflow) as client:
        count = unschedule(client, name, config=config.kubeflow, stop_runs=stop_runs)
    click.echo(f"{name}: {'unscheduled' if count else 'no schedule'}")


@click.command()
@_server_options
@_pipeline_option
@click.option("--last", type=click.IntRange(1, 1000), default=10, show_default=True, help="Number of runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def status(ctx: click.Context, pipeline: str | None, last: int, as_json: bool, **server: Any) -> None:
    """Show the schedule and last runs of a pipeline; exits with 1 if the last run that ended failed."""
    from pipeline.commands.options import console
    from pipeline.kubeflow.schedule import status, status_json, status_table
    from pipeline.kubeflow.server import connect

    config = _load(**server)
    with connect(config.kubeflow) as client:
        found = status(client, pipeline or config.name, config=config.kubeflow, last=last)
    if as_json:
        click.echo(status_json(found))
    else:
        for scheduled in found.schedules or (None,):
            click.echo(f"schedule: {scheduled or 'none'}")
        console().print(status_table(found))
    if not found.good:
        ctx.exit(1)


for _command in (schedule, status, submit, unschedule):
    command.add_command(_command)


@command.command("compile")
@config_options
@click.option(
    "--output",
    type=UserPath(path_type=Path),
    default=Path("pipeline.yaml"),
    show_default=True,
    help="YAML file to write.",
)
@yes_option
@verbose_option
def compile_(
    preset: str, file: Path | None, overrides: tuple[str, ...], output: Path, yes: bool, verbose: bool
) -> None:
    """Compile the pipeline to YAML for Kubeflow Pipelines 2."""
    from knet.runs.workspace import Workspace
    from pipeline.config.load import configuration_name
    from pipeline.runners.console import quiet_console

    config = load(preset, file, overrides)
    if output.suffix != ".yaml":
        raise UserError(f"--output {output}: Kubeflow accepts files that end in .yaml")
    with quiet_console(Workspace(config.output).log, verbose=verbose) as console:
        from pipeline.preflight import check_split_file, check_weights

        check_weights(config)
        check_split_file(config)
        confirm_refusal(_refusal_of_mounted_data(config), yes=yes, console=console)
        with console.status("importing TensorFlow and TFX"):
            from pipeline.kubeflow.compiler import compile_pipeline
        with console.status("compiling the pipeline"):
            compile_pipeline(config, output.absolute(), confirmed=yes)
    click.echo(f"compiled: {output} from {configuration_name(file or preset)}")
    if lost := config.kubeflow.ephemeral_paths:
        folders = (
            f"{field} ({getattr(config.kubeflow, field)}: {consequence})"
            for field, consequence in lost.items()
        )
        click.echo(
            f"note: lost with each container, since they are on no volume: {'; '.join(folders)}; mount them "
            "with kubeflow.volumes",
            err=True,
        )


def _refusal_of_mounted_data(config: Config) -> str | None:
    """Return why the gate must refuse every model, as far as this machine has the data of the containers."""
    from knet.runs.registry import RunRegistry
    from pipeline.preflight import count_test_patients, gate_refusal, plan_data

    source, root = Path(config.kubeflow.data_source), config.kubeflow.data_root
    if not source.exists():
        return None
    data = config.data.model_copy(update={"root": Path(root) if root else None})
    try:
        config, catalog, split = plan_data(config.model_copy(update={"data": data}), source)
    except UserError:  # another data set than the containers'; RunStart checks theirs
        return None
    patients = count_test_patients(config, catalog.images, split)
    registry = RunRegistry(f"{config.kubeflow.registry}/registry")
    return gate_refusal(config, patients, registry=registry)


@command.command()
@_spec_argument
@click.option(
    "--data",
    type=UserPath(path_type=Path, exists=True),
    help="Images to use instead of the pipeline's data_source.",
)
@click.option("--local", is_flag=True, help="Map every path of the pipeline below --root.")
@click.option(
    "--root",
    type=UserPath(path_type=Path),
    default=Path("runs/kubeflow"),
    show_default=True,
    help="Folder for buckets, cache and logs, and with --local for the files of the containers.",
)
@_run_options
@click.option(
    "--store",
    metavar="s3://BUCKET/FOLDER",
    help="Object store for artifacts instead of folders; needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
)
@click.option("--endpoint", metavar="URL", help="URL of the S3 server, if it is not Amazon's.")
def simulate(
    spec: Path,
    data: Path | None,
    local: bool,
    root: Path,
    assignments: tuple[str, ...],
    note: str,
    tags: tuple[str, ...],
    store: str | None,
    endpoint: str | None,
) -> None:
    """Simulate a run of a compiled pipeline on this machine, with a process for each container.

    The paths in the pipeline are those of the containers: they must exist on this machine, or --local maps
    them below --root.
    """
    from datetime import datetime, timezone

    from pipeline.commands.options import console
    from pipeline.kubeflow.compiled import compiled_config, read_documents
    from pipeline.kubeflow.simulated_paths import check_paths, map_paths
    from pipeline.kubeflow.simulator import Simulator
    from pipeline.kubeflow.tasks import container_tasks, default_parameters
    from pipeline.runners.console import NodeDisplay

    document, platform = read_documents(spec)
    config = compiled_config(document, spec)
    if local:
        document, config = map_paths(document, config, root.absolute() / "files")
    given = _parameters(document, assignments, note=note, tags=tags)
    parameters = {**default_parameters(document), **given}
    if data:
        parameters["data_source"] = str(data.absolute())
    check_paths(config, parameters)
    if endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    run_id = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    screen = console()
    screen.print(f"logs of the containers: {root / 'runs' / run_id}/<node>/log.txt", soft_wrap=True)
    try:
        with NodeDisplay(screen, container_tasks(document)) as display:
            Simulator(
                root,
                run_id=run_id,
                real_buckets=store is not None,
                on_start=display.started,
                on_result=lambda result: display.ended(result.node, result.state),
            ).run(
                document,
                pipeline_root=store or document["defaultPipelineRoot"],
                platform=platform,
                parameters=parameters,
            )
    finally:
        _print_outcome(screen, parameters["registry"], run_id)


def _print_outcome(console: Console, registry: str, run_id: str) -> None:
    """Print verdict, version and report of a simulated run, as far as it got."""
    from knet.base.run_files import PAGE
    from knet.base.storage import local_copy
    from knet.runs.record import read_record
    from knet.runs.registry import RunRegistry
    from pipeline.commands.run import print_outcome
    from pipeline.kubeflow.run_state import read_run_context

    context = read_run_context(registry, run=run_id)
    location = context and RunRegistry(f"{registry}/registry").runs().get(context.run_id)
    if context and location:
        with local_copy(location) as file:
            print_outcome(console, read_record(file))
        console.print(f"report: {registry}/reports/{context.run_id}/{PAGE}", soft_wrap=True)


def _load(preset: str, file: Path | None, overrides: tuple[str, ...], **server: str | None) -> Config:
    from pipeline.kubeflow.server import server_url

    options = tuple(f"kubeflow.{name}={json.dumps(value)}" for name, value in server.items() if value)
    config = load(preset, file, (*overrides, *options))
    host = server_url(config.kubeflow.host)
    return config.model_copy(update={"kubeflow": config.kubeflow.model_copy(update={"host": host})})


def _print_version(version: UploadedVersion) -> None:
    known = "new" if version.new else "known already"
    click.echo(f"pipeline: {version.pipeline}, version {version.version} ({known})")
