"""Start and end of a run: prior state from the registry before the graph, results and record after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from knet.base import artifact_files, node_ids, run_files
from knet.base.digests import folder_digest, text_digest
from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.base.storage import Store
from knet.evaluation.results import split_estimates
from knet.models.model_info import read_model_info
from knet.runs.record import (
    FAILED,
    FINISHED,
    CandidateRecord,
    Data,
    Execution,
    NodeRecord,
    RunRecord,
    TuningRecord,
    new_run_id,
)
from knet.runs.registry import PriorState, RunRegistry
from knet.serving.model_store import publish_model, remove_version
from knet.serving.models_config import newest_version
from pipeline.config.config import Config


@dataclass(frozen=True)
class RunContext:
    """A run before its nodes: identity, settings, data and prior state.

    Attributes:
        run_id: UTC time of the start, to microseconds.
        started: ISO 8601, UTC.
        config: the experiment, with `data.slices` set.
        data: as `prepare_data` found them.
        schema: file of the schema that the data must match.
        graph: digest of everything that decides which model wins.
        prior: results of earlier runs, the baseline of ModelGate included.
        note: remark of the user.
        tags: words of the user to find the run by.
    """

    run_id: str
    started: str
    config: Config
    data: Data
    schema: Path
    graph: str
    prior: PriorState
    note: str = ""
    tags: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return text for `load_run_context`."""
        from pydantic import TypeAdapter

        return TypeAdapter(RunContext).dump_json(self, indent=2).decode()


def load_run_context(text: str | bytes) -> RunContext:
    """Read the text of `RunContext.to_json`."""
    from pydantic import TypeAdapter

    return TypeAdapter(RunContext).validate_json(text)


def start_run(
    registry: RunRegistry,
    config: Config,
    data: Data,
    *,
    prior: PriorState,
    schema: Path,
    graph: str,
    started: datetime | None = None,
) -> RunContext:
    """Give a run its id, and look up the production model's predictions, which its winner must match.

    Args:
        registry: the run registry.
        config: the experiment, with `data.slices` set.
        data: as `prepare_data` found them.
        prior: as `load_prior_state` found it.
        schema: file of the schema that the data must match.
        graph: digest of everything that decides which model wins. A repeat of the run that pushed the
            production model gets that run's baseline, and is answered from the cache.
        started: in UTC; the id is made from it. Default: now.
    """
    started = started or datetime.now(timezone.utc)
    baseline = None if config.gate.margin is None else registry.baseline(graph)
    return RunContext(
        run_id=new_run_id(started),
        started=started.isoformat(timespec="seconds"),
        config=config,
        data=data,
        schema=schema,
        graph=graph,
        prior=replace(prior, baseline=baseline),
    )


def load_prior_state(registry: RunRegistry, config: Config, data: Data) -> PriorState:
    """Read results of earlier runs, as far as the settings ask for them; `start_run` adds the baseline."""
    found = {}
    if config.tuning and config.tuning.warm_start:
        search = search_digest(config, data)
        found = {n: registry.previous_trials(candidate=n, search=search) for n in config.searched_candidates}
    return PriorState(
        statistics=registry.previous_statistics() if config.data_gate.drift else None,
        trials={name: trials for name, trials in found.items() if trials},
    )


def search_digest(config: Config, data: Data) -> str:
    """Return a digest of a search's inputs other than earlier searches."""
    sections = {"seed", "image", "candidates", "head", "training", "devices", "tuning"}
    return text_digest(config.model_dump_json(include=sections), data.fingerprint, data.split_sha256)


@dataclass(frozen=True)
class RunOutcome:
    """State of the nodes at the end of a run.

    Attributes:
        nodes: those that ran, in order.
        executions: by node, those that succeeded.
        failures: reasons by candidate that the run went without.
        error: why the run failed.
        user_error: whether the user can fix it.
    """

    nodes: tuple[NodeRecord, ...] = ()
    executions: Mapping[str, Execution] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    user_error: bool = False


def finalize_run(
    context: RunContext,
    outcome: RunOutcome,
    *,
    registry: RunRegistry,
    served: Path,
    folder: Path,
    explanations: Store,
    publish: Callable[[], object] | None = None,
) -> RunRecord:
    """Write results, report and, last of all, the record of a run, failed and refused ones included.

    Args:
        context: the run as it started.
        outcome: the state of its nodes.
        registry: receives the record, the predictions of a pushed winner, statistics and trials.
        served: the folder that TF Serving watches; a winner that is missing from it is pushed again.
        folder: receives report and results.
        explanations: explanations of all runs, which this one copies or adds to.
        publish: called when `folder` is complete, before anything is added to the registry.

    Returns:
        The record.
    """
    from knet.report.report import write_report
    from pipeline.runners.outputs import export_results

    executions = outcome.executions
    version = republish_winner(served, executions)
    record = build_run_record(context, outcome, pushed_folder=served / version if version else None)
    predictions = export_results(
        folder, executions, candidates=context.config.candidates, failures=record.failures
    )
    _write_report_inputs(folder, record, context, executions, explanations=explanations)
    write_report(record, folder)
    if publish:
        publish()
    search = search_digest(context.config, context.data)
    for tuning in record.tuning.values():
        registry.store_trials(
            tuning.folder / artifact_files.TRIALS, candidate=tuning.candidate, search=search
        )
    if record.error is None:
        statistics = executions[node_ids.STATISTICS_GEN].outputs["statistics"].uri
        registry.store_statistics(statistics, run_id=record.run_id, schema=context.schema)
    registry.record(
        record,
        # A repeat that has all candidates is another comparison, whose baseline is this run's winner.
        graph="" if record.failures else context.graph,
        predictions=predictions.get(record.winner) if record.winner else None,
        baseline=context.prior.baseline,
    )
    return record


def track_run(record: RunRecord, folder: Path, config: Config) -> str | None:
    """Log a recorded run as `tracking` asks for.

    A server that fails now is no error: the run has ended, its model is served, and `knet track` logs it.

    Args:
        record: of the run.
        folder: of the run, with the report.
        config: the experiment.

    Returns:
        A line about it; None if nothing is logged.
    """
    if config.tracking.mlflow is None:
        return None
    from knet.runs.tracking import log_run

    try:
        logged = log_run(record, folder, config.tracking.mlflow)
    except UserError as error:
        return f"warning: not logged: {error}"
    return f"mlflow: {logged.url}" + ("" if logged.new else " (logged already)")


def _write_report_inputs(
    folder: Path,
    record: RunRecord,
    context: RunContext,
    executions: Mapping[str, Execution],
    *,
    explanations: Store,
) -> None:
    from pipeline.runners.outputs import copy_report_inputs, explain_winner, write_data_page

    copy_report_inputs(folder, executions, candidates=record.candidates, winner=record.winner)
    if node_ids.EXAMPLE_VALIDATOR in executions:
        write_data_page(
            folder / run_files.DATA_PAGE,
            executions,
            record=record,
            classes=context.config.data.classes,
            previous=context.prior.statistics,
        )
    count = context.config.report.explanations
    if record.winner and count:
        explain_winner(
            executions[node_ids.trainer(record.winner)].outputs["model"],
            executions[node_ids.EXAMPLE_GEN].outputs["examples"],
            folder / run_files.EXPLANATIONS,
            count=count,
            cache=explanations,
        )


def republish_winner(served: Path, executions: Mapping[str, Execution]) -> str | None:
    """Make sure that the winner is served, and return its version.

    Returns:
        The version, or None where it was not pushed or was rolled back since.
    """
    if node_ids.PUSHER not in executions:
        return None
    pushed = executions[node_ids.PUSHER].outputs["pushed_model"]
    version = pushed.properties.get("pushed_version")
    return version and republish_if_missing(served, version=version, archive=pushed.uri)


def republish_if_missing(served: Path, *, version: str, archive: Path) -> str | None:
    """Push an archived model again, unless the newest version served has the same content.

    It has not when another model was pushed since, when the served folder was removed, or when files of the
    version are damaged: then that version is deleted. A model that was rolled back is not pushed again.

    Args:
        served: the folder that TF Serving watches.
        version: under which the model was pushed first.
        archive: the PushedModel artifact, which holds a copy of it.

    Returns:
        The version under which the model is served now, or None where it was rolled back.
    """
    newest = newest_version(served)
    published = publish_model(archive, served)
    if newest is not None and published != newest.name == version:
        logging.getLogger(PROGRESS).warning("files of the served version %s were damaged", version)
        remove_version(version, served)
    return published


_WITHDRAWN = (
    "it was rolled back (knet models list shows its version, knet models rollback --to brings it back)"
)


def build_run_record(context: RunContext, outcome: RunOutcome, *, pushed_folder: Path | None) -> RunRecord:
    """Build the record of a run from its artifacts; a failed run leaves fields empty.

    Args:
        context: the run as it started.
        outcome: the state of its nodes.
        pushed_folder: the winner's folder among the served versions, which is named after its version; None
            where it is not served.
    """
    config, executions = context.config, outcome.executions
    decision = _read_json(executions, node_ids.MODEL_SELECTOR, "decision") or {"winner": None}
    gate = _read_json(executions, node_ids.MODEL_GATE, "blessing", artifact_files.GATE) or {}
    winner = decision["winner"]
    refusals = tuple(gate.get("reasons", ()))
    if node_ids.PUSHER in executions and pushed_folder is None and not refusals:
        refusals = (_WITHDRAWN,)
    return RunRecord(
        run_id=context.run_id,
        name=config.name,
        started=context.started,
        data=context.data,
        config=config.model_dump(mode="json"),
        nodes=outcome.nodes,
        candidates=_candidates(config, executions),
        metric=config.selection_metric,
        tuning=_tuning(config, executions),
        ingest=_read_json(executions, node_ids.EXAMPLE_GEN, "ingest"),
        examples=_uri(executions, node_ids.EXAMPLE_GEN, "examples"),
        failures=dict(outcome.failures),
        winner=winner,
        choice=winner and decision["candidates"][winner]["why"],
        refusals=refusals,
        gate_notes=tuple(gate.get("notes", ())),
        pushed_version=pushed_folder.name if pushed_folder else None,
        pushed_folder=str(pushed_folder) if pushed_folder else None,
        error=outcome.error,
        user_error=outcome.user_error,
        state=FAILED if outcome.error else FINISHED,
        note=context.note,
        tags=context.tags,
    )


def _candidates(config: Config, executions: Mapping[str, Execution]) -> dict[str, CandidateRecord]:
    """Return the trained candidates; those that ModelSelector has not seen are without metrics."""
    results = _read_json(executions, node_ids.MODEL_SELECTOR, "results") or {"candidates": {}}
    models = {name: _uri(executions, node_ids.trainer(name), "model") for name in config.candidates}
    return {
        name: CandidateRecord(
            info=read_model_info(model),
            model_sha256=folder_digest(model / artifact_files.SERVING_FORMAT),
            **_figures(results["candidates"].get(name)),
        )
        for name, model in models.items()
        if model is not None
    }


def _figures(results: Any) -> dict[str, Any]:
    """Return a candidate's metrics and intervals by split."""
    if results is None:
        return {}
    splits = {split: split_estimates(results, split) for split in results["splits"]}
    return {
        "metrics": {
            split: {name: estimate.value for name, estimate in found.items()}
            for split, found in splits.items()
        },
        "intervals": {
            split: {name: (estimate.low, estimate.high) for name, estimate in found.items()}
            for split, found in splits.items()
        },
    }


def _tuning(config: Config, executions: Mapping[str, Execution]) -> dict[str, TuningRecord]:
    nodes = [config.tuner_id(name) for name in config.searched_candidates]
    folders = {node: executions[node].outputs["trials"].uri for node in nodes if node in executions}
    return {
        node: TuningRecord(
            **_read_json(executions, node, "trials", artifact_files.SEARCH_SUMMARY), folder=folder
        )
        for node, folder in folders.items()
    }


def _uri(executions: Mapping[str, Execution], node: str, output: str) -> Path | None:
    return executions[node].outputs[output].uri if node in executions else None


def _read_json(executions: Mapping[str, Execution], node: str, output: str, name: str = "") -> Any:
    if node not in executions:
        return None
    return executions[node].outputs[output].read_json(name)
