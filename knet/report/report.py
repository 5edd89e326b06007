"""Makes the page of a run from what lies in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import jinja2

from knet.base import run_files, text
from knet.base.files import atomic_write
from knet.report.inputs import Inputs, Section, read_inputs, verdict
from knet.report.metric_sections import calibration, confusion, curves, heat_maps, learning, patients, slices
from knet.report.sections import (
    anomalies,
    candidates,
    configuration,
    data,
    lineage,
    model_card,
    nodes,
    paper,
    summary,
    tuning,
)
from knet.runs.record import RunRecord

# In the order in which the page shows them.
SECTIONS: Final[tuple[Callable[[Inputs], Section], ...]] = (
    summary,
    data,
    anomalies,
    tuning,
    learning,
    candidates,
    paper,
    curves,
    calibration,
    confusion,
    slices,
    patients,
    heat_maps,
    nodes,
    lineage,
    model_card,
    configuration,
)


def write_report(record: RunRecord, folder: Path) -> Path:
    """Writes the page and the record into the folder of a run, and returns the page's path.

    A failed run has a page too, with the results up to the failure. Images and styles are inside the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / run_files.RECORD, record.to_json())
    found = read_inputs(record, folder)
    page = folder / run_files.PAGE
    atomic_write(
        page,
        environment()
        .get_template("page.html")
        .render(
            run=record,
            verdict=verdict(record),
            sections=[section(found) for section in SECTIONS],
            record_file=run_files.RECORD,
        ),
    )
    return page


def environment(*packages: str) -> jinja2.Environment:
    """Finds templates in the `templates` of some packages, and of the report; the filters are `formats`."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [*map(jinja2.PackageLoader, packages), jinja2.PackageLoader("knet.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": text.format_metric,
        "duration": text.format_duration,
        "size": text.format_magnitude,
        "estimate": text.format_estimate,
    }
    return made
