"""How the winner did on each test patient, and the images of the worst."""

from __future__ import annotations

from pipeline import features
from pipeline.report.inputs import Inputs
from pipeline.report.patient_rows import SHOWN, WORST, patient_rows
from pipeline.report.section import Section

_TITLE = "Patients"


def patients(inputs: Inputs) -> Section:
    """A row a test patient, the worst first, and thumbnails of the images that were called wrongly."""
    name = inputs.record.winner
    if name is None or name not in inputs.predictions:
        return Section("patients", _TITLE, missing="No winner was chosen in this run.")
    predictions = inputs.predictions[name]
    rows = patient_rows(predictions[predictions[features.SPLIT] == "test"])
    if not rows:
        return Section("patients", _TITLE, missing="There is no test patient.")
    worst = [row for row in rows[:WORST] if row.most_wrong]
    return Section(
        "patients",
        _TITLE,
        {
            "rows": rows,
            "classes": inputs.record.config["data"]["classes"],
            "worst": worst,
            "shown": SHOWN,
            "thumbnails": inputs.thumbnails,
        },
    )
