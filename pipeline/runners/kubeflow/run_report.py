"""The last node of the graph on Kubeflow: keeps what the run came to, be the winner pushed or refused."""

from __future__ import annotations

import json

from pipeline.errors import UserError
from pipeline.run_record import NodeRecord
from pipeline.runners.finish_run import Outcome
from pipeline.runners.kubeflow.plain_node import PlainNode, run_node
from pipeline.runners.kubeflow.publish_run import publish_run
from pipeline.runners.kubeflow.run_notes import beginning_of_run


def report_run(node: PlainNode) -> None:
    """Writes record, page and what later runs need into the registry.

    Raises:
        UserError: the registry has no note of how the run began.
    """
    place = node.parameters["registry"]
    beginning = beginning_of_run(place)
    if beginning is None:
        raise UserError(f"{place} holds nothing of this run: was it emptied meanwhile?")
    executions = node.executions()
    nodes = []
    for name in json.loads(node.parameters["nodes"]):
        artifacts = executions[name].outputs.values()
        seconds = 0.0 if executions[name].cached else max(a.properties.get("seconds", 0.0) for a in artifacts)
        nodes.append(NodeRecord(name, "cached" if executions[name].cached else "done", round(seconds, 1)))
    ordered = {record.node: executions[record.node] for record in nodes}
    publish_run(place, beginning, Outcome(tuple(nodes), ordered))


if __name__ == "__main__":
    run_node(report_run)
