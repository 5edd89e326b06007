"""The command `knet models`: list, roll back and prune the versions of the served model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from knet.base.errors import UserError
from pipeline.commands.options import UserPath, config_options, console, kubeflow_option, load

if TYPE_CHECKING:
    from knet.runs.registry import RunRegistry


_LABEL_GRACE = 3.0  # seconds; TF Serving, as `knet serve` starts it, reads the labels every two


_models_argument = click.argument("models", required=False, type=UserPath(path_type=Path))


@click.group("models")
def command() -> None:
    """List, roll back and prune the versions of the served model.

    They are in the folder MODELS, as of knet serve, or in that of a configuration.
    """


@command.command("list")
@_models_argument
@kubeflow_option
@config_options
def list_(models: Path | None, kubeflow: bool, **configuration: Any) -> None:
    """List the versions, newest first."""
    from knet.serving.model_store import list_versions

    served, registry = _open(models, kubeflow, **configuration)
    versions = list_versions(served)
    if not versions:
        click.echo(f"no version in {served} yet")
        return
    from rich import box
    from rich.table import Table

    table = Table(
        "version", "state", "labels", "candidate", "run", "MiB", box=box.SIMPLE_HEAD, pad_edge=False
    )
    production = registry.production()
    for version in versions:
        pushed = registry.pushed(str(version.number))
        in_production = production is not None and production.version == str(version.number)
        table.add_row(
            str(version.number),
            f"{version.state}, production" if in_production else version.state,
            ", ".join(version.labels),
            pushed.candidate if pushed else "",
            pushed.run_id if pushed else "",
            f"{version.size / 2**20:.1f}",
        )
    console().print(table)


@command.command("rollback")
@_models_argument
@click.option("--to", type=int, metavar="VERSION", help="Version to serve. Default: the previous version.")
@kubeflow_option
@config_options
def rollback_(models: Path | None, to: int | None, kubeflow: bool, **configuration: Any) -> None:
    """Serve an earlier or a withdrawn version, and make it the model in production.

    Newer versions are withdrawn: servers unload them, and a repeated run does not push them again.
    """
    from knet.serving.model_store import rollback, rollback_target
    from knet.serving.models_config import complete_versions

    served, registry = _open(models, kubeflow, **configuration)

    def is_known(version: int) -> bool:
        return registry.pushed(str(version)) is not None

    production = registry.production() if to is None else None
    target = rollback_target(
        served, to, production=int(production.version) if production else None, is_known=is_known
    )
    for version in list(complete_versions(served))[:-1] if to is None else ():
        if version > target and not is_known(version):
            click.echo(f"version {version} is passed over: no recorded run pushed it")
    # First, so that a rollback that is interrupted and repeated has the same target.
    registry.make_production(str(target))
    withdrawn = rollback(served, target, grace_seconds=_LABEL_GRACE)
    click.echo(f"version {target} is served")
    if withdrawn:
        click.echo(f"withdrawn: {', '.join(map(str, withdrawn))}")


@command.command("prune")
@_models_argument
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of newest versions to keep.",
)
@kubeflow_option
@config_options
def prune_(models: Path | None, keep: int, kubeflow: bool, **configuration: Any) -> None:
    """Delete old and withdrawn versions.

    Versions that are in production, loaded by models.config or labelled stay.
    """
    from knet.serving.model_store import prune

    served, registry = _open(models, kubeflow, **configuration)
    production = registry.production()
    in_use = {int(production.version)} if production else set()
    deleted = prune(served, keep=keep, in_use=in_use)
    click.echo(f"deleted: {', '.join(map(str, deleted)) or 'nothing'}")


def _open(models: Path | None, kubeflow: bool, **configuration: Any) -> tuple[Path, RunRegistry]:
    """Return the folder of the versions, and the run registry."""
    from knet.runs.registry import RunRegistry
    from knet.runs.workspace import Workspace

    if models is not None:
        given = click.get_current_context().get_parameter_source
        if any(given(name) is ParameterSource.COMMANDLINE for name in ("kubeflow", *configuration)):
            raise click.UsageError("MODELS beside --config, --preset, --set or --kubeflow: give one of them")
        if not models.is_dir():
            raise UserError(f"{models} is not a folder: give the one that the pipeline pushes models to")
        return models, RunRegistry(Workspace.of_served(models).registry)
    config = load(**configuration)
    if kubeflow:
        return Path(config.kubeflow.push_folder), RunRegistry(f"{config.kubeflow.registry}/registry")
    workspace = Workspace(config.output)
    return workspace.served, RunRegistry(workspace.registry)
