"""Makes the page on a run's data from the artifacts of its nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from components.data_gate.judge import judge
from components.data_gate.page import write_page
from components.data_gate.split_files import read_statistics
from pipeline.registry import KeptStatistics
from pipeline.report import run_files
from pipeline.run_record import RunRecord
from pipeline.runners.execution import Execution
from pipeline.store.local_copy import local_copy


def write_data_page(
    path: Path,
    executions: Mapping[str, Execution],
    *,
    record: RunRecord,
    classes: Sequence[str],
    previous: KeptStatistics | None,
) -> None:
    """Writes the page, and beside it what is wrong as JSON.

    DataGate's own outputs are not needed, which are gone where it failed.

    Args:
        path: of the page.
        executions: by node, ExampleValidator's and those before it among them.
        record: of the run.
        classes: their names, in the order of the labels.
        previous: what DataGate looked for drift from.
    """
    statistics = executions["StatisticsGen"].outputs["statistics"].uri
    with local_copy(previous.folder) if previous else nullcontext() as drifted_from:
        judgement = judge(
            anomalies=executions["ExampleValidator"].outputs["anomalies"].uri,
            statistics=statistics,
            schema=executions["ImportSchemaGen"].outputs["schema"].uri / "schema.pbtxt",
            previous=drifted_from,
            classes=classes,
        )
        sets = read_statistics(statistics)
        if previous and drifted_from:
            sets[f"train of run {previous.run_id}"] = read_statistics(drifted_from)["train"]
    write_page(
        path,
        title=f"{record.name}, run {record.run_id}",
        synthetic=record.data.synthetic,
        judgement=judgement,
        statistics=sets,
    )
    findings = json.dumps(asdict(judgement), indent=2)
    path.with_name(run_files.FINDINGS).write_text(findings, encoding="utf-8")
