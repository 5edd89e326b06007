"""A digest of a graph: of all that decides which model wins and whether it is pushed."""

from __future__ import annotations

import json
from typing import Final

from tfx.orchestration.pipeline import Pipeline

from pipeline.digest import text_digest

# It says whether a run may go on, and hands nothing on; what it compares with changes from run to run.
_LEFT_OUT: Final = "DataGate"


def graph_digest(pipeline: Pipeline) -> str:
    """The SHA-256 of every node's settings, which hold the digests of data, code and files."""
    nodes = {
        node.id: {name: str(value) for name, value in node.exec_properties.items()}
        for node in pipeline.components
        if node.id != _LEFT_OUT
    }
    return text_digest(json.dumps(nodes, sort_keys=True))
