"""How long each node of the graph took."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section


def nodes(inputs: Inputs) -> Section:
    """Nodes in the order in which they ended."""
    ran = inputs.record.nodes
    if not ran:
        return Section("nodes", "Seconds a node", missing="No node of the graph ended.")
    longest = max(node.seconds for node in ran)
    return Section(
        "nodes",
        "Seconds a node",
        {"nodes": ran, "longest": longest or 1.0, "total": sum(node.seconds for node in ran)},
    )
