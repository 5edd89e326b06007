"""Ids of the graph's nodes, as runners, run records and Kubeflow's tasks name them."""

from __future__ import annotations

from typing import Final

EXAMPLE_GEN: Final = "BreakHisExampleGen"
SCHEMA_GEN: Final = "ImportSchemaGen"
STATISTICS_GEN: Final = "StatisticsGen"
EXAMPLE_VALIDATOR: Final = "ExampleValidator"
DATA_GATE: Final = "DataGate"
TRANSFORM: Final = "Transform"  # and one for each other image size, see `transform`
TUNER: Final = "Tuner"  # or one node for each candidate, see `tuner`
TRAINER: Final = "Trainer"  # kind of node; one for each candidate, see `trainer`
EVALUATOR: Final = "Evaluator"  # kind of node; one for each candidate, see `evaluator`
MODEL_SELECTOR: Final = "ModelSelector"
MODEL_GATE: Final = "ModelGate"
SERVING_VALIDATOR: Final = "ServingValidator"
PUSHER: Final = "Pusher"

# On Kubeflow alone.
RUN_START: Final = "RunStart"
RUN_REPORT: Final = "RunReport"
RUN_END: Final = "RunEnd"


def transform(size: int) -> str:
    """Return the id of the Transform for an image size that is not the common one."""
    return f"{TRANSFORM}-{size}"


def tuner(candidate: str) -> str:
    """Return the id of the search on one candidate, where each candidate has its own."""
    return _of_candidate(TUNER, candidate)


def trainer(candidate: str) -> str:
    """Return the id of a candidate's Trainer: `Trainer-deep-serial` for `deep_serial`."""
    return _of_candidate(TRAINER, candidate)


def evaluator(candidate: str) -> str:
    """Return the id of a candidate's Evaluator."""
    return _of_candidate(EVALUATOR, candidate)


def _of_candidate(kind: str, candidate: str) -> str:
    # Pods are named after nodes, and no name on Kubernetes has an underscore; candidates have no hyphen.
    return f"{kind}-{candidate.replace('_', '-')}"


def candidate(node_id: str) -> str:
    """Return the candidate that a node belongs to, or "": `deep_serial` for `Trainer-deep-serial`."""
    kind, _, name = node_id.partition("-")
    return "" if kind == TRANSFORM else name.replace("-", "_")


def kind(node_id: str) -> str:
    """Return the kind of a node: `Trainer` for `Trainer-vgg16`."""
    return node_id.partition("-")[0]
