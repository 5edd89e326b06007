"""`knet runs`, `compare`, `lineage`, `report` and `cache`: commands on earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.files import remove_path
from pipeline.commands.options import config_options, console, kubeflow_option, load

if TYPE_CHECKING:
    from knet.base.storage import Store
    from knet.runs.caches import CacheFile
    from pipeline.config.config import Config


@click.command("runs")
@config_options
def command(preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """List the runs of an output folder, newest first, also running, interrupted and failed ones."""
    from knet.report.queries import runs_table
    from knet.runs.active_run import is_running, read_run_state
    from knet.runs.registry import RunRegistry
    from knet.runs.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    files = RunRegistry(workspace.registry).runs()
    running, unrecorded = is_running(workspace), read_run_state(workspace)
    if not files and not unrecorded:
        click.echo(f"no run in {workspace.root} yet")
        return
    console().print(runs_table(list(files.values()), unrecorded=unrecorded, running=running))


@click.command("compare")
@click.argument("first")
@click.argument("second")
@config_options
def compare_command(
    first: str, second: str, preset: str, file: Path | None, overrides: tuple[str, ...]
) -> None:
    """Compare two runs: data, settings that differ, and the winners' metrics.

    FIRST and SECOND are run ids, `last`, or folders of runs.
    """
    from knet.report.inputs import read_inputs
    from knet.report.queries import compare_runs, find_run
    from knet.runs.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    inputs = [read_inputs(*find_run(name, workspace)) for name in (first, second)]
    for table in compare_runs(*inputs):
        console().print(table)


@click.command("lineage")
@click.argument("version")
@config_options
def lineage_command(version: str, preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Trace a served VERSION back to its data."""
    from knet.report.queries import find_version, lineage_steps
    from knet.runs.registry import RunRegistry
    from knet.runs.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    record = find_version(version, RunRegistry(workspace.registry), where=workspace.root)
    for step in reversed(lineage_steps(record)):
        click.echo(f"{step.name:<30} {step.value}")
        if step.note:
            click.echo(f"{'':<30} {step.note}")


@click.command("report")
@click.argument("run")
@config_options
def report_command(run: str, preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Render the page of RUN again: a run id, `last`, or the folder of a run.

    The run's folder is enough: its artifacts may be deleted.
    """
    from knet.report.queries import find_run
    from knet.report.report import write_report
    from knet.runs.workspace import Workspace

    record, folder = find_run(run, Workspace(load(preset, file, overrides).output))
    click.echo(f"report: {write_report(record, folder)}")


@click.command("cache")
@config_options
@kubeflow_option
@click.option(
    "--remove-unused",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove files not used for this long.",
)
def cache_command(kubeflow: bool, remove_unused: float | None, **configuration: Any) -> None:
    """List the cache files of runs, and remove unused ones.

    They are feature maps of frozen blocks, checkpoints of unfinished trainings, unfinished searches and
    explanations of winners, and are computed again when needed. While a run trains, DAYS must be longer than
    the training. Leftovers of killed runs are listed and removed unless a run works in the folder.
    """
    from knet.runs.caches import cache_files, remove_unused_files

    config = load(**configuration)
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
