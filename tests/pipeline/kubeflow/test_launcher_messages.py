"""Messages of the simulator have the form of recorded ones of a real launcher."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.kubeflow.launcher_messages import executor_input, output_artifacts
from pipeline.kubeflow.simulator import Simulator
from pipeline.kubeflow.visualizations import ARTIFACT_TYPES

Message = dict[str, Any]
_LAUNCHER_METADATA = ("display_name", "store_session_info")  # no container writes these
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Writes the outputs of an executor, and the message to a file of the pod.
_CONTAINER = """
import json, os, sys
message, metadata = json.loads(sys.argv[1]), json.loads(sys.argv[2])
outputs = message["outputs"]
for parameter in outputs.get("parameters", {}).values():
    open(parameter["outputFile"], "w").write("1")
made = {
    name: {"artifacts": [{"uri": held["artifacts"][0]["uri"], "metadata": metadata[name]}]}
    for name, held in outputs["artifacts"].items()
    if name in metadata
}
json.dump({"artifacts": made}, open(outputs["outputFile"], "w"))
json.dump(message, open(os.path.join(os.environ["KNET_LAUNCHER_ROOT"], "message.json"), "w"))
"""


def test_simulator_messages_have_the_recorded_form(
    recorded_graph: Message, recorded: Callable[[str], Message], tmp_path: Path
) -> None:
    spec = deepcopy(recorded_graph)
    nodes = [*spec["components"]["Graph"]["dag"]["tasks"], "RunEnd"]
    written = _written_metadata([recorded(node) for node in nodes])
    for node in nodes:
        spec["deploymentSpec"]["executors"][f"{node}_executor"]["container"] |= {
            "command": ["python", "-c", _CONTAINER],
            "args": ["{{$}}", json.dumps(written.get(node, {}))],
        }
    Simulator(tmp_path, run_id="b7a88f5c-2b97-4ab7-89f2-0a171f9cdf5a").run(
        spec, pipeline_root="minio://mlpipeline/knet"
    )
    for node in nodes:
        pod = tmp_path / "runs" / "b7a88f5c-2b97-4ab7-89f2-0a171f9cdf5a" / node
        sent = json.loads((pod / "message.json").read_text("utf-8").replace(str(pod), ""))
        for shown in ARTIFACT_TYPES.get(node.partition("-")[0], ()):  # the recorded run had none of these
            del sent["outputs"]["artifacts"][shown]
        assert _form(sent) == _form(recorded(node)), node


def _written_metadata(messages: list[Message]) -> dict[str, dict[str, Message]]:
    """Collect metadata that containers wrote from messages to later nodes, by node and output."""
    written: dict[str, dict[str, Message]] = {}
    for message in messages:
        for held in message["inputs"].get("artifacts", {}).values():
            (artifact,) = held["artifacts"]
            *_, node, _, output = artifact["uri"].split("/")
            written.setdefault(node, {})[output] = {
                name: value["struct"] if isinstance(value, dict) else value
                for name, value in artifact["metadata"].items()
                if name not in _LAUNCHER_METADATA
            }
    return written


def _form(value: Any, field: str = "") -> Any:
    """Replace the values of a message that the launcher does not choose by their types."""
    if field == "parameterValues":
        return bool(value)
    if isinstance(value, dict):
        return {name: _form(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_form(item) for item in value]
    if field in ("uri", "outputFile"):
        return _UUID.sub("UUID", value)
    if field == "name":
        return "ID" if value.isdecimal() else value
    if field in ("display_name", "schemaTitle"):
        return value
    if field == "instanceSchema":
        return value and "a schema"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


@pytest.fixture
def message(tmp_path: Path) -> Message:
    component = {"outputDefinitions": {"artifacts": {"text": {"artifactType": {"instanceSchema": "x"}}}}}
    made = executor_input(component, {}, folder="s3://bucket/run", pod=tmp_path)
    Path(made["outputs"]["outputFile"]).parent.mkdir(parents=True)
    return made


def _write(message: Message, metadata: Message) -> None:
    made = {"artifacts": {"text": {"artifacts": [{"uri": "s3://bucket/run/text", "metadata": metadata}]}}}
    Path(message["outputs"]["outputFile"]).write_text(json.dumps(made), "utf-8")


@pytest.mark.parametrize(
    ("value", "stored"), [(True, 1), (2.5, 2.5), ("a", "a"), ([1], {"list": [1]}), ({}, {"struct": {}})]
)
def test_output_artifacts_have_stored_metadata(message: Message, value: Any, stored: Any) -> None:
    _write(message, {"given": value})
    found = output_artifacts("Make", message)["text"]["metadata"]["given"]
    assert found == stored and type(found) is type(stored)


def test_output_artifacts_refuse_null_metadata(message: Message) -> None:
    _write(message, {"given": None})
    with pytest.raises(UserError, match=r"Make: metadata\.given of the output text is null"):
        output_artifacts("Make", message)
