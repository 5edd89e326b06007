"""Runs the first nodes of one graph twice at once and then once more, in processes of their own.

Usage: run_together.py OUTPUT KEY=VALUE...

Writes OUTPUT/<name>.json for the runs `left`, `right` and `again`: by node, whether it was answered from the
cache, the number of its execution, and where its outputs lie. What the libraries log is shown.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from absl import logging
from rich.console import Console

from pipeline.config import Config, load_config
from pipeline.preflight import prepare_data
from pipeline.run_record import Data
from pipeline.runners.local import run_down_to
from pipeline.schema.schema_file import schema_file
from pipeline.workspace import Workspace

# TFX takes half a minute of CPU to import: the processes are copies of this one.
_FORK = multiprocessing.get_context("fork")


def _run(name: str, config: Config, data: Data, start: Any) -> None:
    start.wait()
    schema = schema_file(config, data, Workspace(config.output))
    nodes = run_down_to(["ImportSchemaGen"], config, data, schema=schema, console=Console(file=sys.stderr))
    left = {
        node: {
            "cached": execution.cached,
            "id": execution.id,
            "outputs": {key: str(output.uri) for key, output in execution.outputs.items()},
        }
        for node, execution in nodes.items()
    }
    (config.output / f"{name}.json").write_text(json.dumps(left), encoding="utf-8")


def main(output: Path, settings: list[str]) -> None:
    """Runs `left` and `right` together, and `again` when both have ended."""
    logging.set_verbosity(logging.INFO)
    config = load_config("demo", [f"output={output}", *settings])
    data = prepare_data(config)
    for names in (("left", "right"), ("again",)):
        start = _FORK.Barrier(len(names))
        runs = [_FORK.Process(target=_run, args=(name, config, data, start)) for name in names]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            if run.exitcode:
                sys.exit(run.exitcode)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
