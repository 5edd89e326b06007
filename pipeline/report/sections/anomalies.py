"""What DataGate thought of the data."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section


def anomalies(inputs: Inputs) -> Section:
    """Deviations from the schema, and drift since the last successful run."""
    if inputs.findings is None:
        return Section("anomalies", "Anomalies", missing="The run ended before the data were judged.")
    return Section("anomalies", "Anomalies", {**inputs.findings, "data_page": inputs.data_page})
