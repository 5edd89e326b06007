"""The table of findings."""

from __future__ import annotations

from components.data_gate.finding import Finding, table


def test_columns_are_aligned_under_their_header() -> None:
    findings = [Finding("validation", "label", "Out of range", "value: 2"), Finding("test", "x", "y", "z")]
    assert table(findings).splitlines() == [
        "split       feature  anomaly       details",
        "validation  label    Out of range  value: 2",
        "test        x        y             z",
    ]
