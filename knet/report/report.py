"""The report page of a run, rendered from the files in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import jinja2

from knet.base import run_files, text
from knet.base.files import atomic_write
from knet.base.split_units import PATIENT, leak_warning
from knet.report.classes import classes
from knet.report.inputs import Inputs, Section, read_inputs, verdict
from knet.report.metric_sections import calibration, confusion, curves, heat_maps, learning, slices
from knet.report.patients import patients
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

# In the order of the page: results, data, training.
SECTIONS: Final[tuple[Callable[[Inputs], Section | None], ...]] = (
    summary,
    candidates,
    classes,
    paper,
    curves,
    confusion,
    calibration,
    slices,
    patients,
    heat_maps,
    data,
    anomalies,
    learning,
    tuning,
    nodes,
    lineage,
    model_card,
    configuration,
)


def write_report(record: RunRecord, folder: Path) -> Path:
    """Write the record and the page into the folder of a run.

    Failed runs have a page too. The page loads no other files: images and styles are embedded.

    Args:
        record: record of the run.
        folder: folder of the run, with the inputs of the page; created if missing.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / run_files.RECORD, record.to_json())
    inputs = read_inputs(record, folder)
    page = folder / run_files.PAGE
    template = environment().get_template("page.html")
    atomic_write(
        page,
        template.render(
            run=record,
            leak=leak_warning(record.config["data"]["split"].get("unit", PATIENT)),
            verdict=verdict(record),
            sections=[found for section in SECTIONS if (found := section(inputs))],
            record_file=run_files.RECORD,
        ),
    )
    return page


def render_section(section: Section, *, title: str, leak: str | None = None) -> str:
    """Return a page that holds one section and loads no other files.

    Args:
        section: the section, which has values.
        title: of the page.
        leak: warning that patients leak into test; None: they do not.
    """
    return environment().get_template("section.html").render(section=section, title=title, leak=leak)


def environment(*packages: str) -> jinja2.Environment:
    """Return a Jinja environment with the report's templates and the filters of `knet.base.text`.

    Args:
        packages: packages whose `templates` folders are searched first.
    """
    jinja = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [*map(jinja2.PackageLoader, packages), jinja2.PackageLoader("knet.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "figure": text.format_metric,
        "counted": text.counted,
        "duration": text.format_duration,
        "size": text.format_magnitude,
        "estimate": text.format_estimate,
    }
    return jinja
