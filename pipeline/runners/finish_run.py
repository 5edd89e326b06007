"""Keeps what a run came to: its record, what later runs need, and what its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.registry import RunRegistry
from pipeline.report import run_files
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.runners.beginning import Beginning, search_digest
from pipeline.runners.collect import collect
from pipeline.runners.data_page import write_data_page
from pipeline.runners.execution import Execution
from pipeline.runners.run_results import run_results
from pipeline.runners.write_results import write_results
from pipeline.tuning.trials_table import TABLE


@dataclass(frozen=True)
class Outcome:
    """How the nodes of a run fared."""

    nodes: tuple[NodeRecord, ...] = ()
    executions: Mapping[str, Execution] = field(default_factory=dict)  # by node, those that succeeded
    error: str | None = None  # why the run failed
    user_error: bool = False  # whether the user can mend it


def finish_run(
    beginning: Beginning,
    outcome: Outcome,
    *,
    registry: RunRegistry,
    served: Path,
    folder: Path,
    explanations: Path,
) -> RunRecord:
    """Keeps a run, failed or refused ones too, and returns its record.

    Args:
        beginning: of the run.
        outcome: of its nodes.
        registry: where the record, predictions of a pushed winner, statistics and trials are kept.
        served: the folder that TF Serving watches.
        folder: for the files of the page, as `write_report` takes them.
        explanations: the folder of those of earlier winners.
    """
    config, executions = beginning.config, outcome.executions
    record = RunRecord(
        run_id=beginning.run_id,
        name=config.name,
        started=beginning.started,
        data=beginning.data,
        config=config.model_dump(mode="json"),
        nodes=outcome.nodes,
        metric=config.selection.metric,
        error=outcome.error,
        user_error=outcome.user_error,
        **run_results(config, served, executions),
    )
    files = write_results(folder, executions, candidates=config.candidates)
    predictions = files.get(record.winner) if record.winner else None
    registry.record(record, graph=beginning.graph, predictions=predictions, baseline=beginning.baseline)
    collect(folder, executions, candidates=record.candidates, winner=record.winner)
    search = search_digest(config, beginning.data)
    for tuning in record.tuning.values():
        registry.keep_trials(tuning.folder / TABLE, backbone=tuning.candidate, search=search)
    if "ExampleValidator" in executions:
        write_data_page(
            folder / run_files.DATA_PAGE,
            executions,
            record=record,
            classes=config.data.classes,
            previous=beginning.remembered.statistics,
        )
    if record.winner and record.examples and config.report.explanations:
        from pipeline.runners.explain_winner import explain_winner  # with TensorFlow, which takes seconds

        explain_winner(
            executions[f"Trainer-{record.winner}"].outputs["model"].uri,
            record.examples / "Split-test",
            folder / run_files.EXPLANATIONS,
            count=config.report.explanations,
            kept=explanations,
        )
    if record.error is None:
        statistics = executions["StatisticsGen"].outputs["statistics"].uri
        registry.keep_statistics(statistics, run_id=record.run_id, schema=beginning.schema)
    return record
