"""`knet runs`, `compare`, `lineage`, `report`, `track` and `cache`: commands on earlier runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.errors import UserError
from knet.base.files import remove_path
from pipeline.commands.options import (
    config_options,
    console,
    kubeflow_option,
    load,
    output_option,
    output_options,
)

if TYPE_CHECKING:
    from knet.base.storage import Store
    from knet.runs.caches import CacheFile
    from knet.runs.workspace import Workspace
    from pipeline.config.config import Config


@click.command("runs")
@output_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list of finished runs.")
@click.option("--tag", metavar="WORD", help="List runs with this tag.")
def command(workspace: Workspace, as_json: bool, tag: str | None) -> None:
    """List the runs of an output folder, newest first, also running, interrupted and failed ones."""
    from knet.report.queries import runs_json, runs_table, with_tag
    from knet.runs.active_run import is_running, read_run_state
    from knet.runs.registry import RunRegistry

    files = list(RunRegistry(workspace.registry).runs().values())
    if tag is not None:
        files = with_tag(files, tag)
    if as_json:
        click.echo(json.dumps(runs_json(files), indent=2))
        return
    running, unrecorded = is_running(workspace), None if tag else read_run_state(workspace)
    if not files and not unrecorded:
        click.echo(f"no run {f'with the tag {tag} ' if tag else ''}in {workspace.root} yet")
        return
    console().print(runs_table(files, unrecorded=unrecorded, running=running))


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@output_options
def compare_command(workspace: Workspace, runs: tuple[str, ...]) -> None:
    """Compare two or more RUNS: data, settings that differ, and the winners' metrics.

    RUNS are run ids, `last`, or folders of runs. Runs on the same patients are compared with the first by
    paired differences.
    """
    from knet.report.compare import compare_runs
    from knet.report.inputs import read_inputs
    from knet.report.queries import find_run

    if len(runs) < 2:
        raise click.UsageError("name two runs or more; `knet runs` lists them")
    for table in compare_runs([read_inputs(*find_run(name, workspace)) for name in runs]):
        console().print(table)


@click.command("lineage")
@click.argument("version")
@output_options
def lineage_command(workspace: Workspace, version: str) -> None:
    """Trace a served VERSION back to its data."""
    from knet.report.queries import find_version, lineage_steps
    from knet.runs.registry import RunRegistry

    record = find_version(version, RunRegistry(workspace.registry), where=workspace.root)
    for step in reversed(lineage_steps(record)):
        click.echo(f"{step.name:<30} {step.value}")
        if step.note:
            click.echo(f"{'':<30} {step.note}")


@click.command("report")
@click.argument("run", default="last")
@output_options
def report_command(workspace: Workspace, run: str) -> None:
    """Render the page of RUN again: a run id, `last` (default), or the folder of a run.

    The run's folder is enough: its artifacts may be deleted.
    """
    from knet.report.queries import find_run
    from knet.report.report import write_report

    record, folder = find_run(run, workspace)
    click.echo(f"report: {write_report(record, folder)}")


@click.command("track")
@click.argument("run", default="last")
@click.option("--mlflow", "url", metavar="URL", help="MLflow server. Default: that of the run's settings.")
@output_options
def track_command(workspace: Workspace, run: str, url: str | None) -> None:
    """Log RUN to an MLflow server: a run id, `last` (default), or the folder of a run.

    For runs that ended while the server was away, or that were made without `tracking`. A run that the server
    has is not logged again.
    """
    from knet.report.queries import find_run
    from knet.runs.settings import server_url
    from knet.runs.tracking import log_run

    record, folder = find_run(run, workspace)
    try:
        server = server_url(url) if url else record.config.get("tracking", {}).get("mlflow")
    except ValueError as error:
        raise UserError(f"--mlflow: {error}") from None
    if server is None:
        raise UserError(
            f"run {record.run_id} was made without tracking.mlflow: name the server with --mlflow URL"
        )
    logged = log_run(record, folder, server)
    click.echo(f"mlflow: {logged.url}{'' if logged.new else ' (logged already)'}")


@click.command("cache")
@config_options
@output_option("Output folder of the runs, instead of that of the configuration.")
@kubeflow_option
@click.option(
    "--remove-unused",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove files not used for this long.",
)
def cache_command(
    output: Path | None, kubeflow: bool, remove_unused: float | None, **configuration: Any
) -> None:
    """List the cache files of runs, and remove unused ones.

    They are feature maps of frozen blocks, checkpoints of unfinished trainings, unfinished searches and
    explanations of winners, and are computed again when needed. While a run trains, DAYS must be longer than
    the training. Leftovers of killed runs are listed and removed unless a run works in the folder.
    """
    from knet.runs.caches import cache_files, remove_unused_files

    config = load(**configuration)
    if output is not None and kubeflow:
        raise click.UsageError("--output is of one machine, and --kubeflow of a cluster: give one of them")
    if output is not None:
        config = config.model_copy(update={"output": output})
    caches = _caches(config, kubeflow=kubeflow)
    files = cache_files(caches) if remove_unused is None else remove_unused_files(caches, days=remove_unused)
    if not kubeflow:
        files += _leftovers(config, remove=remove_unused is not None)
    for item in files:
        click.echo(
            f"{item.size / 1e6:9.1f} MB  unused {item.unused_days:5.1f} days  {item.kind}: {item.location}"
        )
    total = f"{sum(item.size for item in files) / 1e9:.2f} GB in {len(files)} files"
    click.echo(f"total: {total}" if remove_unused is None else f"removed: {total}")


def _caches(config: Config, *, kubeflow: bool) -> dict[str, Store]:
    """Return the caches by kind of content."""
    from knet.base.storage import open_store
    from knet.runs.workspace import Workspace

    workspace = Workspace(config.output)
    cluster = config.kubeflow
    return {
        "feature maps": open_store(cluster.cache_root if kubeflow else workspace.feature_maps),
        "checkpoint": open_store(cluster.checkpoints if kubeflow else workspace.checkpoints),
        "explanations": open_store(
            f"{cluster.registry}/explanations" if kubeflow else workspace.explanations
        ),
    }


def _leftovers(config: Config, *, remove: bool) -> list[CacheFile]:
    """Return what killed runs left, and remove it; nothing while a run works in the folder."""
    from contextlib import nullcontext

    from knet.base.storage import open_store
    from knet.runs.active_run import is_running, lock_output
    from knet.runs.caches import folder_entry
    from knet.runs.leftovers import unfinished_outputs
    from knet.runs.workspace import Workspace
    from knet.serving.model_store import leftovers

    workspace = Workspace(config.output.resolve())
    if is_running(workspace) or not workspace.root.is_dir():
        return []
    with lock_output(workspace, phase="knet cache") if remove else nullcontext():
        unfinished: list[int] = []
        if workspace.metadata.is_file():
            from pipeline.runners.mlmd import open_metadata, unfinished_executions

            unfinished = unfinished_executions(open_metadata(config))
        store = open_store(workspace.root)
        folders = [*unfinished_outputs(workspace, unfinished), *leftovers(workspace.served)]
        found = [
            folder_entry("leftover", store, folder.relative_to(workspace.root).as_posix())
            for folder in folders
        ]
        for folder in folders if remove else ():
            remove_path(folder)
    return found
