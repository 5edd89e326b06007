"""The run report: one self-contained page and its figures as JSON, made from the run's record."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2
import yaml

from pipeline import features
from pipeline.evaluation.summary import SUMMARY_HEADER, summary_rows
from pipeline.run_record import RunRecord

DATA_PAGE = "data.html"  # what the data were found to be; beside the report where the run came that far


def write_report(record: RunRecord, folder: Path) -> Path:
    """Writes `report.html` and `report.json` into a folder, and returns the page's path.

    A failed run has a report too, with what it came to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(
        (resources.files("pipeline.evaluation") / "report.html").read_text(encoding="utf-8")
    )
    page = folder / "report.html"
    page.write_text(
        template.render(
            run=record,
            config=yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True),
            header=SUMMARY_HEADER,
            rows=summary_rows(record),
            splits=features.SPLITS,
            data_page=DATA_PAGE if (folder / DATA_PAGE).is_file() else None,
        ),
        encoding="utf-8",
    )
    (folder / "report.json").write_text(record.to_json(), encoding="utf-8")
    return page
