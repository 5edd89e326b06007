"""Measures how long a container takes until its executor begins: with TFX's own entrypoint and with ours.

    python benchmarks/entrypoint.py            # every kind of node
    python benchmarks/entrypoint.py Pusher     # one of them

CPU seconds of a process that ends just before `Do`. What is not imported by then may be needed all the same:
the columns "and libraries" count what `Do` begins with on either side, such as TensorFlow for Trainer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_ROOT = Path(__file__).resolve().parents[1]
# By node: its executor, and what this uses in every run.
NODES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "BreakHisExampleGen": ("components.breakhis_example_gen.executor.Executor", ()),
    "ImportSchemaGen": ("tfx.components.schema_gen.import_schema_gen.executor.Executor", ()),
    "StatisticsGen": (
        "tfx.components.statistics_gen.executor.Executor",
        ("tensorflow_data_validation", "tensorflow"),
    ),
    "ExampleValidator": (
        "tfx.components.example_validator.executor.Executor",
        ("tensorflow_data_validation",),
    ),
    "DataGate": ("components.data_gate.executor.Executor", ("tensorflow_data_validation",)),
    "Transform": (
        "tfx.components.transform.executor.Executor",
        ("tensorflow_data_validation", "pipeline.preprocessing", "tensorflow"),
    ),
    "Tuner": ("components.knet_tuner.executor.Executor", ("tensorflow", "keras", "pandas")),
    "Trainer": (
        "tfx.components.trainer.executor.GenericExecutor",
        ("pipeline.training", "tensorflow", "keras"),
    ),
    "Evaluator": (
        "components.knet_evaluator.executor.Executor",
        ("tensorflow_model_analysis", "tensorflow"),
    ),
    "ModelSelector": ("components.model_selector.executor.Executor", ("pandas", "pyarrow.parquet")),
    "ModelGate": ("components.model_gate.executor.Executor", ("pandas", "pyarrow.parquet")),
    "ServingValidator": ("components.serving_validator.executor.Executor", ("tensorflow", "keras")),
    "Pusher": ("tfx.components.pusher.executor.Executor", ()),
}


def main() -> None:
    """Prints a row a node."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nodes", nargs="*", metavar="NODE")
    parser.add_argument("--begin", nargs=2, metavar=("ENTRYPOINT", "NODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.begin:
        _begin(*options.begin)
        return
    print("| node | TFX's | ours | share | TFX's and libraries | ours and libraries | share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for node in options.nodes or NODES:
        stock, ours = _measured("stock", node), _measured("ours", node)
        cells = [f"{a:.1f} | {b:.1f} | {b / a:.0%}" for a, b in zip(stock, ours, strict=True)]
        print(f"| {node} | {' | '.join(cells)} |", flush=True)


def _measured(entrypoint: str, node: str) -> list[float]:
    """CPU seconds until `Do`, and those until it has its libraries."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_USE_LEGACY_KERAS": "0"}
    command = [sys.executable, __file__, "--begin", entrypoint, node]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{node} failed:\n{ended.stderr[-3000:]}")
    seconds: list[float] = json.loads(ended.stdout.splitlines()[-1])
    return seconds


def _begin(entrypoint: str, node: str) -> None:
    executor, libraries = NODES[node]
    sys.path.remove(str(Path(__file__).parent))  # where Python puts it: `serving` is not our package there
    invocation = json.dumps({"inputs": {}, "outputs": {"outputFile": f"{tempfile.gettempdir()}/none.json"}})
    if entrypoint == "stock":
        stock = importlib.import_module("tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor")
        _stop_before_do(libraries)
        arguments = {"executor_class_path": executor, "json_serialized_invocation_args": invocation}
        stock._run_executor(argparse.Namespace(**arguments, json_serialized_inputs_spec_args="{}"), [])
        return
    from pipeline.runners.kubeflow.entrypoint import run_executor
    from pipeline.runners.kubeflow.prepare_imports import prepare_imports

    prepare_imports()
    _stop_before_do(libraries)
    run_executor(executor, invocation=invocation, inputs_spec="{}", beam_args=[])


def _stop_before_do(libraries: tuple[str, ...]) -> None:
    """Has the executor report in the place of what it does, and end the process."""
    from tfx.utils import import_utils

    find: Callable[[str], Any] = import_utils.import_class_by_path

    def report(*_: Any) -> None:
        until_do = time.process_time()
        for name in libraries:
            getattr(importlib.import_module(name), "used", None)
        print(json.dumps([until_do, time.process_time()]), flush=True)
        os._exit(0)

    import_utils.import_class_by_path = lambda path: type("Stopped", (find(path),), {"Do": report})


if __name__ == "__main__":
    main()
