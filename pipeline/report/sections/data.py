"""The images, and who is in which split."""

from __future__ import annotations

from pipeline import features
from pipeline.report.inputs import Inputs
from pipeline.report.section import Section


def data(inputs: Inputs) -> Section:
    """Images and patients by split and class, and what became of every other file."""
    record = inputs.record
    ingest = record.ingest
    return Section(
        "data",
        "Data and split",
        {
            "data": record.data,
            "ingest": ingest,
            "splits": features.SPLITS,
            "classes": record.config["data"]["classes"],
            "split_settings": record.config["data"]["split"],
            "data_page": inputs.data_page,
        },
    )
