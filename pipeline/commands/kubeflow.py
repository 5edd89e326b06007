"""`knet kubeflow`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline.commands._kubeflow_server import schedule, status, submit, unschedule
from pipeline.commands._options import configured, load
from pipeline.errors import UserError


@click.group("kubeflow")
def command() -> None:
    """Compile the graph for Kubeflow Pipelines, try it without a cluster, run and schedule it on one."""


for _command in (schedule, status, submit, unschedule):
    command.add_command(_command)


@command.command("compile")
@configured
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX has to say.")
def compile_(preset: str, file: Path | None, overrides: tuple[str, ...], output: Path, verbose: bool) -> None:
    """Write the graph as YAML that Kubeflow Pipelines 2 takes."""
    from pipeline.runners.screen import quiet_console
    from pipeline.workspace import Workspace

    config = load(preset, file, overrides)
    if output.suffix != ".yaml":
        raise UserError(f"--output {output}: Kubeflow takes a file that ends in .yaml")
    with quiet_console(Workspace(config.output).log, verbose=verbose):
        from pipeline.preflight import check_split_file, check_weights

        check_weights(config)
        check_split_file(config)
        from pipeline.runners.kubeflow.compile_pipeline import compile_pipeline

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

    from pipeline.runners.kubeflow.run_parameters import run_parameters
    from pipeline.runners.kubeflow.simulator import NodeResult, Simulator

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
