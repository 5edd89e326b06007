"""What the model is for, and what not."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section


def model_card(inputs: Inputs) -> Section:
    """Intended use, limits and terms, with the figures of this run."""
    record = inputs.record
    winner = record.candidates.get(record.winner) if record.winner else None
    breakhis = "subtype" in record.data.columns and "magnification" in record.data.columns
    return Section(
        "model_card",
        "Model card",
        {"run": record, "info": winner.info if winner else None, "breakhis": breakhis},
    )
