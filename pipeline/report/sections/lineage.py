"""Where the served model came from."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.lineage_steps import lineage_steps
from pipeline.report.section import Section


def lineage(inputs: Inputs) -> Section:
    """From the data's fingerprint to the served version, and the artifacts in MLMD on the way."""
    return Section("lineage", "Lineage", {"steps": lineage_steps(inputs.record), "artifacts": inputs.lineage})
