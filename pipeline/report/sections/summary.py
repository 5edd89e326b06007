"""What the run came to, in one line and a few figures."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section
from pipeline.report.verdict import verdict


def summary(inputs: Inputs) -> Section:
    """The verdict, and the figures that a reader looks for first."""
    record = inputs.record
    return Section(
        "summary",
        "Summary",
        {
            "verdict": verdict(record),
            "metrics": inputs.metrics(record.winner, "test"),
            "gated": bool(record.config["gate"]["minimum"]) or record.config["gate"]["margin"] is not None,
            "seconds": sum(node.seconds for node in record.nodes),
            "patients": sum(record.data.patients.values()),
            "images": sum(record.data.images.values()),
        },
    )
