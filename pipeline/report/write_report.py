"""Makes the page of a run from what lies in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.report import run_files
from pipeline.report.environment import environment
from pipeline.report.inputs import Inputs, read_inputs
from pipeline.report.section import Section
from pipeline.report.sections.anomalies import anomalies
from pipeline.report.sections.calibration import calibration
from pipeline.report.sections.candidates import candidates
from pipeline.report.sections.configuration import configuration
from pipeline.report.sections.confusion import confusion
from pipeline.report.sections.curves import curves
from pipeline.report.sections.data import data
from pipeline.report.sections.heat_maps import heat_maps
from pipeline.report.sections.learning import learning
from pipeline.report.sections.lineage import lineage
from pipeline.report.sections.model_card import model_card
from pipeline.report.sections.nodes import nodes
from pipeline.report.sections.paper import paper
from pipeline.report.sections.patients import patients
from pipeline.report.sections.slices import slices
from pipeline.report.sections.summary import summary
from pipeline.report.sections.tuning import tuning
from pipeline.report.verdict import verdict
from pipeline.run_record import RunRecord
from pipeline.write_whole import write_whole

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

    A failed run has a page too, with what it came to. The page loads nothing: images and styles are in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / run_files.RECORD, record.to_json())
    inputs = read_inputs(record, folder)
    page = folder / run_files.PAGE
    write_whole(
        page,
        environment()
        .get_template("page.html")
        .render(
            run=record,
            verdict=verdict(record),
            sections=[section(inputs) for section in SECTIONS],
            record_file=run_files.RECORD,
        ),
    )
    return page
