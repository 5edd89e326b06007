"""The first node on Kubeflow: what the data are now, and what earlier runs left.

It is never answered from the cache. The nodes behind take what it gives as parameters, so that they run
again where it is something else than before, and not otherwise.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Config, load_config
from pipeline.digest import text_digest
from pipeline.preflight import prepare_data
from pipeline.registry import RunRegistry
from pipeline.runners.beginning import Beginning, begin, remember
from pipeline.runners.kubeflow.plain_node import PlainNode, run_node
from pipeline.runners.kubeflow.run_notes import note_beginning


def start_run(node: PlainNode) -> None:
    """Looks at the data and into the registry, and notes how the run begins.

    Raises:
        UserError: the data, or a parameter of the run, are wrong; the text names it.
    """
    given = node.parameters
    config = run_config(given)
    registry = RunRegistry(f"{given['registry']}/registry")
    with tempfile.TemporaryDirectory() as folder:
        here = config.model_copy(update={"output": Path(folder)})
        data = prepare_data(here, registry=registry, progress=print)
    config = config.with_slices(data.slices)
    remembered = remember(registry, config, data)
    run = [str(given[name]) for name in ("graph", "data_source", "data_root", "seed", "epochs")]
    graph = text_digest(*run, data.fingerprint, data.split_sha256)
    schema = Path(config.kubeflow.schema_file)
    beginning = begin(registry, config, data, remembered=remembered, schema=schema, graph=graph)
    note_beginning(given["registry"], beginning)
    node.give(_outputs(beginning))


def run_config(given: Mapping[str, Any]) -> Config:
    """The compiled configuration with what the run was given.

    Args:
        given: the node's parameters.

    Raises:
        UserError: a value is out of range.
    """
    values = {
        "seed": given["seed"],
        "training.epochs": given["epochs"],
        "data.source": given["data_source"],
        "data.root": given["data_root"] or None,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "of-this-run.yaml"
        file.write_text(given["config"], encoding="utf-8")  # JSON is YAML too
        return load_config(file, [f"{name}={json.dumps(value)}" for name, value in values.items()])


def _outputs(beginning: Beginning) -> dict[str, Any]:
    statistics, baseline = beginning.remembered.statistics, beginning.baseline
    outputs: dict[str, Any] = {
        "fingerprint": beginning.data.fingerprint,
        "split_sha256": beginning.data.split_sha256,
        "span": beginning.data.span,
        "synthetic_data": beginning.data.synthetic,
        "previous_statistics": str(statistics.folder) if statistics else "",
        "previous_digest": statistics.digest if statistics else "",
        "baseline": str(baseline.file) if baseline else "",
        "baseline_digest": baseline.digest if baseline else "",
        "baseline_version": baseline.version if baseline else "",
    }
    for name in beginning.config.candidates:
        trials = beginning.remembered.trials.get(name)
        outputs[f"trials_{name}"] = str(trials.file) if trials else ""
        outputs[f"trials_digest_{name}"] = trials.digest if trials else ""
    return outputs


if __name__ == "__main__":
    run_node(start_run)
