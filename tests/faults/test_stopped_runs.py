"""A run that is stopped once in every kind of node, and continued, ends as one without interruption.

SIGKILL mostly; Ctrl-C in Transform and SIGTERM in the Trainer, which end in one line.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
from fault import WRITING, WRITTEN

from knet.base import run_files
from knet.base.tfrecord import read_tf_records
from knet.data.sample_data import write_sample_data
from knet.runs.active_run import read_run_state
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from knet.serving.models_config import complete_versions

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_SETTINGS = ("candidates={mobilenet: {weights: none, alpha: 0.25}}",)
_KILL = signal.SIGKILL
_NODES = {
    **dict.fromkeys(("BreakHisExampleGen", "ImportSchemaGen", "StatisticsGen"), _KILL),
    **dict.fromkeys(("ExampleValidator", "DataGate"), _KILL),
    "Transform": signal.SIGINT,
    "Tuner": _KILL,
    "Trainer-mobilenet": signal.SIGTERM,
    **dict.fromkeys(("Evaluator-mobilenet", "ModelSelector", "ModelGate", "ServingValidator"), _KILL),
    "Pusher": _KILL,
}
_CODES = {_KILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
_CLOCKS = ("seconds", "images_per_second", "peak_memory_bytes", "resumed_after")
# Files with times, numbers of functions in a process, or results in the order in which Beam computed them;
# the variables, the predictions and `results` of ModelSelector are compared.
_VOLATILE = (
    *("events.out.tfevents", ".keras", "updated_analyzer_cache", ".tfrecord"),
    *("saved_model.pb", "fingerprint.pb"),
)


class Runs:
    """A run without interruption, and one that was stopped and continued.

    Attributes:
        whole: the former.
        stopped: results of the latter, by the node, or Pusher's end or the report, that was stopped.
        last: its last part.
    """

    def __init__(self, make_knet: Callable[..., Any], data: Path) -> None:
        self.whole = make_knet().run(*_SETTINGS, data=data)
        knet = make_knet()
        self.workspace = Workspace(knet.output)
        self.stopped: dict[str, Any] = {}

        def stop(fault: str) -> Any:
            return knet.run(*_SETTINGS, data=data, before=f"import fault; fault.{fault}")

        for _ in _NODES:
            left = {node: int(number) for node, number in _NODES.items() if node not in self.stopped}
            result = stop(f"stop_in_node({left}, {str(knet.output)!r}, {WRITING!r})")
            self.stopped[self._stopped_in(result)] = result
        # The version is there, and MLMD does not know it.
        self.stopped["Pusher, ended"] = stop(f"stop_in_node({{'Pusher': 9}}, '', {WRITTEN!r})")
        # The page is there, and the record is not.
        self.stopped["report"] = stop("stop_before_record(9)")
        self.last = knet.run(*_SETTINGS, data=data)

    def _stopped_in(self, result: Any) -> str:
        state = read_run_state(self.workspace)
        if state:
            return state.phase
        return re.sub("^stopped in (.+); .*\n", r"\1", result.stderr)

    def records(self) -> list[RunRecord]:
        return [read_record(file) for file in RunRegistry(self.workspace.registry).runs().values()]


@pytest.fixture(scope="module")
def runs(make_knet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("faults") / "data"
    return Runs(make_knet, write_sample_data(folder, patients=12, images_per_magnification=1, seed=0))


def test_each_node_is_stopped_by_its_signal(runs: Runs) -> None:
    expected = {**_NODES, "Pusher, ended": _KILL, "report": _KILL}
    codes = {node: result.code for node, result in runs.stopped.items()}
    assert codes == {node: _CODES[number] for node, number in expected.items()}


def test_stop_signal_ends_in_one_line(runs: Runs) -> None:
    for node, result in runs.stopped.items():
        is_killed = _NODES.get(node, _KILL) == _KILL
        assert result.stderr == (
            "" if is_killed else f"stopped in {node}; the same command continues there\n"
        )
        assert "Traceback" not in result.stdout


def test_stopped_run_continues_from_the_cache(runs: Runs) -> None:
    ended: set[str] = set()
    for node, result in runs.stopped.items():
        states = result.states()
        assert {name for name, state in states.items() if state == "cached"} == ended
        assert node not in states
        ended |= set(states)
    assert runs.last.code == 0, runs.last.stdout + runs.last.stderr
    assert runs.last.states() == dict.fromkeys(_NODES, "cached")


def test_stopped_runs_are_recorded_as_interrupted(runs: Runs) -> None:
    *stopped, last = runs.records()
    assert (last.state, len(stopped)) == ("finished", len(runs.stopped))
    assert {record.state for record in stopped} == {"interrupted"}
    assert [record.error for record in stopped[-3:]] == ["killed in Pusher"] * 2 + ["killed in the report"]
    errors = {record.error for record in stopped}
    assert {"stopped in Transform by SIGINT", "stopped in Trainer-mobilenet by SIGTERM"} < errors


def test_continued_run_has_the_same_bytes(runs: Runs) -> None:
    expected, found = (_artifacts(finished.output) for finished in (runs.whole, runs.last))
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert len(found) > 40


def test_continued_run_serves_one_version(runs: Runs) -> None:
    served = complete_versions(runs.workspace.served)
    production = RunRegistry(runs.workspace.registry).production()
    assert production is not None and list(served) == [int(production.version)]
    (whole,) = complete_versions(Workspace(runs.whole.output).served).values()
    assert _files(served[int(production.version)]) == _files(whole)
    (pushed,) = [record for record in runs.records() if record.pushed_version]
    assert pushed.pushed_version == production.version


def _artifacts(output: Path) -> dict[str, str]:
    """Return the digests of the files of the last run's artifacts, by node, output and path."""
    report = max((output / "reports").iterdir())
    rows = json.loads((report / run_files.LINEAGE).read_text("utf-8"))
    return {
        f"{row['node']}/{row['output']}/{name}": digest
        for row in rows
        for name, digest in _files(Path(row["uri"])).items()
    }


def _files(folder: Path) -> dict[str, str]:
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(_timeless(file)).hexdigest()
        for file in files
        if not any(word in str(file) for word in _VOLATILE)
    }


def _timeless(file: Path) -> bytes:
    """Return the content of a file without times and in a fixed order."""
    if file.suffix == ".gz":
        records = read_tf_records(file)
        return b"".join(
            tf.train.Example.FromString(record).SerializeToString(deterministic=True) for record in records
        )
    if file.suffix == ".parquet":
        frame = pd.read_parquet(file)
        if "image" in frame:  # predictions, whose order is by chance
            frame = frame.sort_values(["split", "image"])
        return str(frame.to_dict("records")).encode()
    if file.suffix == ".json":
        return json.dumps(_without_clocks(json.loads(file.read_text("utf-8")))).encode()
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as rows:
            return json.dumps(_without_clocks(list(csv.DictReader(rows)))).encode()
    return file.read_bytes()


def _without_clocks(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_clocks(value) for key, value in tree.items() if key not in _CLOCKS}
    return [_without_clocks(value) for value in tree] if isinstance(tree, list) else tree
