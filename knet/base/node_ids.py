"""Ids of the graph's nodes, as runners, run records and Kubeflow's tasks name them."""

from __future__ import annotations

from typing import Final

EXAMPLE_GEN: Final = "BreakHisExampleGen"
SCHEMA_GEN: Final = "ImportSchemaGen"
STATISTICS_GEN: Final = "StatisticsGen"
EXAMPLE_VALIDATOR: Final = "ExampleValidator"
DATA_GATE: Final = "DataGate"
TRANSFORM: Final = "Transform"
TUNER: Final = "Tuner"  # or one node for each backbone, see `tuner`
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


def tuner(backbone: str) -> str:
    """Return the id of the search on one backbone, where each backbone has its own."""
    return f"{TUNER}-{backbone}"


def trainer(candidate: str) -> str:
    """Return the id of a candidate's Trainer."""
    return f"{TRAINER}-{candidate}"


def evaluator(candidate: str) -> str:
    """Return the id of a candidate's Evaluator."""
    return f"{EVALUATOR}-{candidate}"


def candidate(node_id: str) -> str:
    """Return the candidate that a node belongs to, or "": `vgg16` for `Trainer-vgg16`."""
    return node_id.partition("-")[2]


def kind(node_id: str) -> str:
    """Return the kind of a node: `Trainer` for `Trainer-vgg16`."""
    return node_id.partition("-")[0]
