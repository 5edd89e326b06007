"""What the search for hyperparameters tried."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section

_TITLE = "Tuning"


def tuning(inputs: Inputs) -> Section:
    """Of each search what was found, every trial, and the search's plots."""
    if inputs.record.config.get("tuning") is None:
        return Section(
            "tuning",
            _TITLE,
            missing="Nothing was searched (tuning is null): every candidate used the values of training.",
        )
    if not inputs.searches:
        return Section("tuning", _TITLE, missing="There are no trials: the run ended before a search did.")
    return Section("tuning", _TITLE, {"searches": inputs.searches})
