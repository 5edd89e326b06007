"""What Kubeflow runs after the graph, however that ended: keeps the record of a run that failed."""

from __future__ import annotations

import os

from pipeline.registry import RunRegistry
from pipeline.run_record import NodeRecord
from pipeline.runners.kubeflow.plain_node import PlainNode, run_node
from pipeline.runners.kubeflow.run_notes import REGISTRY, beginning_of_run, failures_of_run

_SILENT = (
    "a container ended without a word, such as one that is killed for its memory; see the run's own page"
)


def end_run(node: PlainNode) -> None:
    """Writes record and page of a failed run; one that went well has both already."""
    place = node.parameters["registry"]
    beginning = beginning_of_run(place)
    if beginning is None:
        print("the run failed before it began: the log of its first node says why")
        return
    if beginning.run_id in RunRegistry(f"{place}/registry").runs():
        return
    from pipeline.runners.finish_run import Outcome  # which take seconds to import
    from pipeline.runners.kubeflow.publish_run import publish_run

    failures = failures_of_run(os.environ[REGISTRY])
    nodes = tuple(NodeRecord(failure.node, "failed", 0.0) for failure in failures)
    error = f"{failures[0].node}: {failures[0].error}" if failures else _SILENT
    mendable = bool(failures) and failures[0].user_error
    publish_run(place, beginning, Outcome(nodes, error=error, user_error=mendable))


if __name__ == "__main__":
    run_node(end_run)
