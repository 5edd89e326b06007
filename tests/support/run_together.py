"""Script that runs the first nodes of a pipeline in two processes at once, and then once more.

The two runs at once have different seeds, so neither is cached for the other, and start each node together.

Usage: run_together.py OUTPUT KEY=VALUE...

Writes OUTPUT/<name>.json for the runs `left`, `right` and `again`: by node, whether it was cached, the id of
its execution, and the URIs of its outputs. Library logs go to standard error.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from absl import logging
from rich.console import Console

from knet.data.sample_data import write_sample_data
from knet.runs.record import Data
from knet.runs.workspace import Workspace
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.preflight import prepare_data, schema_file
from pipeline.runners import local

# Forked processes share the import of TFX, which takes half a minute of CPU.
_FORK = multiprocessing.get_context("fork")
_BARRIER_SECONDS = 120
_ROUNDS = ({"left": 1, "right": 2}, {"again": 2})  # seeds by run


def _run(name: str, config: Config, data: Data, barrier: Any) -> None:
    show = local.NodeDisplay.started

    def started(self: local.NodeDisplay, node: str) -> None:
        barrier.wait(_BARRIER_SECONDS)
        show(self, node)

    local.NodeDisplay.started = started  # type: ignore[method-assign]
    schema = schema_file(config, data, Workspace(config.output))
    console = Console(file=sys.stderr)
    nodes = local.run_down_to(["ImportSchemaGen"], config, data, schema=schema, console=console)
    executions = {
        node: {
            "cached": execution.cached,
            "id": execution.id,
            "outputs": {key: str(output.uri) for key, output in execution.outputs.items()},
        }
        for node, execution in nodes.items()
    }
    (config.output / f"{name}.json").write_text(json.dumps(executions), encoding="utf-8")


def main(output: Path, settings: list[str]) -> None:
    """Run `left` and `right` at once, and `again` after both."""
    logging.set_verbosity(logging.INFO)
    source = write_sample_data(output / "data", patients=12, images_per_magnification=1, seed=0)
    settings = [f"output={output}", f"data.source={source}", *settings]
    for seeds in _ROUNDS:
        barrier = _FORK.Barrier(len(seeds))
        configs = {name: load_config("demo", [*settings, f"seed={seed}"]) for name, seed in seeds.items()}
        runs = [
            _FORK.Process(target=_run, args=(name, config, prepare_data(config), barrier))
            for name, config in configs.items()
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            if run.exitcode:
                sys.exit(run.exitcode)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
