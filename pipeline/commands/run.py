"""`knet run`: train, evaluate and deploy."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knet.base import artifact_files, run_files, schema_names
from knet.base.errors import UserError
from pipeline.commands.options import (
    UserPath,
    config_options,
    confirm_refusal,
    load,
    remark_options,
    verbose_option,
    with_source,
    yes_option,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from knet.runs.record import Data, RunRecord
    from knet.runs.workspace import Workspace
    from pipeline.config.config import Config


WITH_FAILURES: Final = 3  # exit code of a run that went without a candidate


@click.command("run")
@config_options
@click.option(
    "--data",
    type=UserPath(path_type=Path),
    help="BreaKHis_v1 as a folder, .zip, .tar or .tar.gz, or a .csv manifest. Default: synthetic images.",
)
@click.option("--candidates", metavar="NAMES", help="Candidates to compare, such as mobilenet,vgg16.")
@click.option("--until", metavar="NODE", help="Stop after this node, such as Transform; nothing is recorded.")
@click.option("--dry-run", is_flag=True, help="Only print which nodes the cache would answer.")
@remark_options
@yes_option
@verbose_option
def command(
    preset: str,
    file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    candidates: str | None,
    until: str | None,
    dry_run: bool,
    note: str,
    tags: tuple[str, ...],
    yes: bool,
    verbose: bool,
) -> None:
    """Run the whole pipeline, push the winner, and classify one test image if its version is new.

    Exits with 3 if a candidate failed and the others were compared without it.
    """
    from knet.runs.active_run import lock_output
    from knet.runs.workspace import Workspace
    from knet.serving.models_config import newest_version
    from pipeline.config.load import configuration_name
    from pipeline.runners.console import quiet_console

    if candidates is not None:
        overrides = (f"candidates={json.dumps(candidates)}", *overrides)
    config = load(preset, file, overrides)
    source = configuration_name(file or preset)
    if data:
        config = with_source(config, data)
    workspace = Workspace(config.output)
    with (
        lock_output(workspace) as run,
        quiet_console(workspace.log, verbose=verbose, on_stop=run.interrupt) as console,
    ):
        from pipeline.preflight import (
            check_job_endpoint,
            check_tracking,
            check_weights,
            fetch_weights,
            gate_refusal,
            prepare_data,
        )

        check_job_endpoint(config)
        check_weights(config)
        if not (dry_run or until):
            check_tracking(config)
        if config.metadata or workspace.metadata.is_file():
            from pipeline.runners.mlmd import open_metadata

            open_metadata(config, notify=console.print)  # to fail on an unusable database before TFX starts
        fetch_weights(config)
        with console.status("reading file names") as status:
            checked = prepare_data(config, progress=status.update)
        _print_data(console, checked)
        _print_few_updates(console, checked, config)
        console.print(f"configuration: {source}", soft_wrap=True)
        if dry_run:
            _import_runner(console)
            _print_plan(console, config, checked)
            return
        if until:
            _import_runner(console)
            _run_until(until, config, checked, console=console)
            return
        confirm_refusal(gate_refusal(config, checked.test_patients), yes=yes, console=console)
        _import_runner(console)
        from pipeline.runners.lifecycle import track_run
        from pipeline.runners.local import run_pipeline

        served = newest_version(workspace.served)
        record = run_pipeline(config, checked, run=run, console=console, note=note, tags=tags)
        print_outcome(console, record)
        is_new = served is None or served.name != record.pushed_version
        if record.pushed_version and record.examples and is_new:
            _print_prediction(console, workspace.served, record.examples)
        report = workspace.reports / record.run_id
        _print_file(console, "report", report / run_files.PAGE)
        if (data_page := report / run_files.DATA_PAGE).is_file():
            _print_file(console, "data", data_page)
        if not verbose:
            _print_file(console, "log", workspace.log)
        with console.status("logging the run to MLflow"):
            tracked = track_run(record, report, config)
        if tracked:
            console.print(tracked, soft_wrap=True)
        _print_next_steps(console, workspace, record)
    if record.failures and not record.error:
        click.echo(f"completed with failures: without {', '.join(record.failures)}", err=True)
        sys.exit(WITH_FAILURES)
    if record.error:
        if record.user_error:
            raise UserError(record.error)
        click.echo(f"error: {record.error}", err=True)
        sys.exit(1)


def _import_runner(console: Console) -> None:
    """Import TensorFlow and TFX, which takes a while; show that until it is done."""
    text = "importing TensorFlow and TFX"
    if not console.is_terminal:
        console.print(text)
    with console.status(text):
        import pipeline.runners.local  # noqa: F401  (imported for its effect)


def _print_file(console: Console, name: str, file: Path) -> None:
    """Print the path of a file; terminals that know links open it at a click."""
    from rich.text import Text

    path = Text(str(file), style=f"link {file.absolute().as_uri()}")
    console.print(Text(f"{name + ':':<7} ").append_text(path), soft_wrap=True)


def _print_next_steps(console: Console, workspace: Workspace, record: RunRecord) -> None:
    if record.pushed_version:
        console.print(f"serve the model: knet serve {shlex.quote(str(workspace.served))}", soft_wrap=True)
    if record.candidates:
        artifacts = shlex.quote(str(workspace.artifacts))
        console.print(f"learning curves: tensorboard --logdir {artifacts}", soft_wrap=True)


def _print_plan(console: Console, config: Config, data: Data) -> None:
    from pipeline.runners.local import plan_run

    for node, state in plan_run(config, data).items():
        console.print(f"{node:<22} {state}")
    console.print(
        "a node below one that runs is answered from the cache if its inputs come out as before",
        soft_wrap=True,
    )


def _run_until(node: str, config: Config, data: Data, *, console: Console) -> None:
    from knet.runs.registry import RunRegistry
    from knet.runs.workspace import Workspace
    from pipeline.preflight import schema_file
    from pipeline.runners.lifecycle import load_prior_state
    from pipeline.runners.local import run_down_to

    workspace = Workspace(config.output.resolve())
    executions = run_down_to(
        [node],
        config,
        data,
        schema=schema_file(config, data, workspace),
        console=console,
        prior=load_prior_state(RunRegistry(workspace.registry), config.with_slices(data.slices), data),
    )
    for name, artifact in executions[node].outputs.items():
        console.print(f"{name}: {artifact.uri}", soft_wrap=True)
    console.print("the run goes on from here without --until")


def _print_data(console: Console, data: Data) -> None:
    kind = "synthetic images" if data.synthetic else "images"
    console.print(f"data: {data.source} ({kind}, span {data.span})", soft_wrap=True)
    for split in schema_names.SPLITS:
        patients, images = data.patients[split], data.images[split]
        share = images / sum(data.images.values())
        console.print(f"  {split:<10} {patients:4} patients {images:6} images {share:6.1%}")
    if data.excluded_duplicates:
        console.print(
            f"  excluded: {data.excluded_duplicates} images, "
            "second copies of a slide filed under two subtypes"
        )
    for note in () if data.synthetic else data.split_notes:  # a few synthetic patients lack most values
        console.print(f"  note: {note}", soft_wrap=True)


_FEW_UPDATES = 5  # of an epoch


def _print_few_updates(console: Console, data: Data, config: Config) -> None:
    """Print a note if an epoch updates the weights a few times only."""
    images = data.images[schema_names.TRAIN]
    trainings = [config.for_candidate(name).training for name in config.candidates]
    for views, batch_size in sorted(
        {(len(training.augmentation), training.batch_size) for training in trainings}
    ):
        updates = math.ceil(images * views / batch_size)
        if updates < _FEW_UPDATES:
            console.print(
                f"  note: training.batch_size={batch_size} gives {updates} "
                f"update{'s' if updates > 1 else ''} an epoch with {images} training images in {views} "
                f"view{'s' if views > 1 else ''}; a smaller batch learns in fewer epochs",
                soft_wrap=True,
            )


def print_outcome(console: Console, record: RunRecord) -> None:
    """Print the candidates of a run, its winner, and the verdict: the served version, or the refusals."""
    if record.candidates:
        _print_candidates(console, record)
    for why in record.failures.values():
        console.print(f"failed: {why}", soft_wrap=True)
    if record.choice:
        console.print(f"winner: {record.winner}, {record.choice}", soft_wrap=True)
    for note in record.gate_notes:
        console.print(f"gate: {note}", soft_wrap=True)
    if record.refusals:
        console.print(f"not pushed: {record.winner}: {'; '.join(record.refusals)}")
    elif record.pushed_version:
        console.print(f"served version: {record.pushed_version} in {record.pushed_folder}", soft_wrap=True)
        if record.config["gate"]["minimum"] == {} and record.config["gate"]["margin"] is None:
            console.print(
                "no gate: gate.minimum is empty and gate.margin null, so every winner is pushed, whatever "
                "its metrics"
            )


def _print_candidates(console: Console, record: RunRecord) -> None:
    from rich.measure import Measurement

    from knet.report.queries import SUMMARY_HEADER, summary_rows, tuning_line

    rows = [dict(zip(SUMMARY_HEADER, row, strict=True)) for row in summary_rows(record)]
    title = "candidates"
    if record.data.synthetic:
        title += " (synthetic data: not about tissue)"
    # A column of equal values is told once.
    for column, phrase in (("weights", "initial weights: {}"), ("images", "training images: {}")):
        values = {row[column] for row in rows}
        if len(values) == 1:
            title += f"; {phrase.format(values.pop())}"
            rows = [{name: cell for name, cell in row.items() if name != column} for row in rows]
    console.print(title, soft_wrap=True)
    table = _candidate_table(rows)
    if Measurement.get(console, console.options.update(width=_WIDE), table).maximum <= console.width:
        console.print(table)
    else:
        for row in rows:
            _print_candidate(console, row)
    for tuning in record.tuning.values():
        console.print(tuning_line(tuning), soft_wrap=True)


_WIDE = 1000  # columns, more than any table has
# Heads of the table, in two lines, so that it fits 80 columns.
_HEADS = {
    "val accuracy": "val\nacc.",
    "val balanced": "val\nbal.",
    "test balanced": "test\nbal.",
    "seconds": "s",
}


def _candidate_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Return a table with a line for each candidate."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in rows[0]:
        is_text = name in ("candidate", "weights")
        table.add_column(
            _HEADS.get(name, name.replace(" ", "\n")),
            justify="left" if is_text else "right",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*row.values())
    return table


def _print_candidate(console: Console, row: Mapping[str, str]) -> None:
    """Print a block of lines for a candidate, for a terminal narrower than the table."""
    name, *cells = row.items()
    console.print(f"{name[1]} {row['']}".rstrip())
    for title, cell in cells:
        if title and cell:
            console.print(f"  {title:<13} {cell}", soft_wrap=True)


def _print_prediction(console: Console, served: Path, examples: Path) -> None:
    from knet.client import Client
    from knet.data.examples import ingested_images
    from knet.serving.dev_server.server import DevServer, Options

    images = examples / artifact_files.split_folder(schema_names.TEST)
    with (
        DevServer(served, port=0, options=Options(warm_up=False)) as server,
        Client(server.address) as client,
    ):
        ((path, image),) = ingested_images(images, count=1)
        (prediction,) = client.predict([image])
        score = f"{prediction.positive_class or 'probability'} {prediction.score:.3f}"
        console.print(
            f"classified {path.rpartition('/')[2]}: {prediction.label} ({score}), by the development server "
            f"with version {prediction.model_version}",
            soft_wrap=True,
        )
