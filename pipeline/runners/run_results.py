"""What the record of a run takes from the outputs of its nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.evaluation.results import whole
from pipeline.model_info import read_model_info
from pipeline.run_record import CandidateRecord, TuningRecord
from pipeline.runners.execution import Execution
from pipeline.runners.restore_pushed import restore_pushed
from pipeline.searches import searched_backbones, tuner_id
from pipeline.tuning.write_trials import SUMMARY

_WITHDRAWN = (
    "it was rolled back (knet models list shows its version, knet models rollback --to brings it back)"
)


def run_results(config: Config, served: Path, executions: Mapping[str, Execution]) -> dict[str, Any]:
    """Fields of a RunRecord, as far as the run came.

    Args:
        config: of the run.
        served: the folder that TF Serving watches; a version that is gone from it is pushed again.
        executions: by node.
    """
    decision = _read_json(executions, "ModelSelector", "decision") or {"winner": None, "candidates": {}}
    results = _read_json(executions, "ModelSelector", "results") or {"candidates": {}}
    gate = _read_json(executions, "ModelGate", "blessing", "gate.json") or {"reasons": [], "notes": []}
    winner = decision["winner"]
    trainers = {name: executions.get(f"Trainer-{name}") for name in config.candidates}
    candidates = {
        name: CandidateRecord(
            info=read_model_info(trainer.outputs["model"].uri), **_figures(results["candidates"].get(name))
        )
        for name, trainer in trainers.items()
        if trainer is not None
    }
    version = _pushed_version(served, executions)
    return {
        "ingest": _read_json(executions, "BreakHisExampleGen", "ingest"),
        "examples": _uri(executions, "BreakHisExampleGen", "examples"),
        "candidates": candidates,
        "tuning": _tuning(config, executions),
        "winner": winner,
        "choice": winner and decision["candidates"][winner]["why"],
        "refusals": tuple(gate["reasons"])
        or ((_WITHDRAWN,) if "Pusher" in executions and not version else ()),
        "gate_notes": tuple(gate["notes"]),
        "pushed_version": version,
        "pushed_folder": str(served / version) if version else None,
    }


def _figures(results: Any) -> dict[str, Any]:
    """A candidate's metrics and intervals by split; nothing before ModelSelector judged them."""
    if results is None:
        return {}
    splits = {split: whole(results, split) for split in results["splits"]}
    return {
        "metrics": {
            split: {name: estimate.value for name, estimate in found.items()}
            for split, found in splits.items()
        },
        "intervals": {
            split: {name: (estimate.low, estimate.high) for name, estimate in found.items()}
            for split, found in splits.items()
        },
    }


def _tuning(config: Config, executions: Mapping[str, Execution]) -> dict[str, TuningRecord]:
    nodes = [tuner_id(config, name) for name in searched_backbones(config)]
    folders = {node: executions[node].outputs["trials"].uri for node in nodes if node in executions}
    return {
        node: TuningRecord(**_read_json(executions, node, "trials", SUMMARY), folder=folder)
        for node, folder in folders.items()
    }


def _pushed_version(served: Path, executions: Mapping[str, Execution]) -> str | None:
    """The version under which the winner is served, or None where it was refused or the run failed before."""
    if "Pusher" not in executions:
        return None
    pushed = executions["Pusher"].outputs["pushed_model"]
    version = pushed.properties.get("pushed_version")
    return version and restore_pushed(served, version=version, archive=pushed.uri)


def _uri(executions: Mapping[str, Execution], node: str, output: str) -> Path | None:
    return executions[node].outputs[output].uri if node in executions else None


def _read_json(executions: Mapping[str, Execution], node: str, output: str, name: str = "") -> Any:
    if node not in executions:
        return None
    return json.loads((executions[node].outputs[output].uri / name).read_text(encoding="utf-8"))
