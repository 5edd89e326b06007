"""Puts a run into the registry, and its page beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.registry import RunRegistry
from pipeline.report.write_report import write_report
from pipeline.runners.beginning import Beginning
from pipeline.runners.finish_run import Outcome, finish_run
from pipeline.store.open_store import open_store


def publish_run(place: str, beginning: Beginning, outcome: Outcome) -> None:
    """Keeps the record in `<place>/registry`, and the page in `<place>/reports/<run id>`.

    Copied to a folder, both are what the commands about runs read, with that folder as `output`.

    Args:
        place: of the registry and the reports.
        beginning: of the run.
        outcome: of its nodes.
    """
    registry, store = RunRegistry(f"{place}/registry"), open_store(place)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        record = finish_run(
            beginning,
            outcome,
            registry=registry,
            served=Path(beginning.config.kubeflow.push_folder),
            folder=page,
            explanations=Path(folder) / "explanations",
        )
        write_report(record, page)
        for file in (path for path in page.rglob("*") if path.is_file()):
            name = file.relative_to(page).as_posix()
            store.write(f"reports/{record.run_id}/{name}", file.read_bytes())
    print(f"report: {place}/reports/{record.run_id}")
