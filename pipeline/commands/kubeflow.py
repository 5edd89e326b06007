"""`knet kubeflow`."""

from __future__ import annotations

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
    remembering = {
        "data_gate.drift": config.data_gate.drift,
        "tuning.warm_start": config.tuning and config.tuning.warm_start,
    }
    for field in (name for name, wanted in remembering.items() if wanted):
        click.echo(f"note: {field} has no effect there yet: nothing is remembered between runs", err=True)
    for field in config.kubeflow.kept_nowhere:
        place = getattr(config.kubeflow, field)
        click.echo(f"note: kubeflow.{field}, {place}, is on no volume: it goes with the container", err=True)
    if config.gate.margin is not None and not config.kubeflow.baseline:
        click.echo(
            "note: gate.margin has no effect there: kubeflow.baseline names no predictions to compare with",
            err=True,
        )


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
def simulate(spec: Path, data: Path | None, root: Path) -> None:
    """Run a compiled graph on this machine as a cluster would, a process for each container.

    The paths in the spec, such as that of the schema, must be there on this machine too.
    """
    import time
    from datetime import datetime, timezone

    import yaml

    from pipeline.runners.kubeflow.simulator import NodeResult, Simulator

    document = next(yaml.safe_load_all(spec.read_text(encoding="utf-8")))
    if data:
        document["root"]["inputDefinitions"]["parameters"]["data_source"]["defaultValue"] = str(
            data.absolute()
        )
    start = time.monotonic()

    def tell(result: NodeResult) -> None:
        click.echo(f"{time.monotonic() - start:7.1f} s  {result.node}: {result.state}")

    run_id = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    Simulator(root, run_id=run_id, told=tell).run(document, pipeline_root=document["defaultPipelineRoot"])
