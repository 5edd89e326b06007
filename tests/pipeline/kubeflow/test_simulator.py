"""The simulator on a pipeline of two containers."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.kubeflow.simulator import Simulator
from pipeline.kubeflow.tasks import container_tasks

# Writes an artifact and the output file, as an executor does.
_MAKE = """
import json, os, sys
message = json.loads(sys.argv[1])
(artifact,) = message["outputs"]["artifacts"]["text"]["artifacts"]
path = os.environ["KNET_LAUNCHER_ROOT"] + "/minio/" + artifact["uri"].removeprefix("minio://")
open(path, "w").write(message["inputs"]["parameterValues"]["word"] + os.environ["SUFFIX"])
uri = URI
made = {"artifacts": {"text": {"artifacts": [{"uri": uri, "metadata": {"length": 3}}]}}}
json.dump(made, open(message["outputs"]["outputFile"], "w"))
"""
_READ = """
import json, os, sys
message = json.loads(sys.argv[1])
(artifact,) = message["inputs"]["artifacts"]["text"]["artifacts"]
assert artifact["type"] == {"instanceSchema": ""} and artifact["metadata"]["length"] == 3
path = os.environ["KNET_LAUNCHER_ROOT"] + "/minio/" + artifact["uri"].removeprefix("minio://")
print("read", open(path).read())
open(sys.argv[2], "w").write(open(path).read())
"""


def _container(code: str, *arguments: str) -> dict[str, Any]:
    env = [{"name": "SUFFIX", "value": "!"}]
    return {"container": {"image": "x", "command": ["python", "-c", code], "args": arguments, "env": env}}


@pytest.fixture
def spec() -> dict[str, Any]:
    text = {"text": {"artifactType": {"instanceSchema": "title: tfx.String"}}}
    word: dict[str, Any] = {"componentInputParameter": "word"}
    return {
        "pipelineInfo": {"name": "words"},
        "root": {
            "inputDefinitions": {"parameters": {"word": {"parameterType": "STRING", "defaultValue": "abc"}}},
            "dag": {
                "tasks": {
                    "Read": {
                        "componentRef": {"name": "Read"},
                        "inputs": {
                            "artifacts": {
                                "text": {
                                    "taskOutputArtifact": {
                                        "producerTask": "Make",
                                        "outputArtifactKey": "text",
                                    }
                                }
                            }
                        },
                    },
                    "Make": {
                        "componentRef": {"name": "Make"},
                        "inputs": {"parameters": {"word": word}},
                        "cachingOptions": {"enableCache": True},
                    },
                }
            },
        },
        "components": {
            "Make": {"executorLabel": "make", "outputDefinitions": {"artifacts": text}},
            "Read": {
                "executorLabel": "read",
                "outputDefinitions": {"parameters": {"content": {"parameterType": "STRING"}}},
            },
        },
        "deploymentSpec": {
            "executors": {
                "make": _container(_MAKE.replace("URI", 'artifact["uri"]'), "{{$}}"),
                "read": _container(_READ, "{{$}}", "{{$.outputs.parameters['content'].output_file}}"),
            }
        },
    }


def _run(spec: dict[str, Any], root: Path, run_id: str = "1") -> dict[str, Any]:
    return Simulator(root, run_id=run_id).run(spec, pipeline_root="minio://bucket/knet")


def test_simulator_passes_artifacts_and_parameters(spec: dict[str, Any], tmp_path: Path) -> None:
    results = _run(spec, tmp_path)
    assert list(results) == ["Make", "Read"]
    assert results["Read"].outputs.parameters == {"content": "abc!"}
    (text,) = (tmp_path / "store/minio/bucket/knet/words/1/Make").glob("*/text")
    assert text.read_text("utf-8") == "abc!"


def test_simulator_uploads_container_logs(spec: dict[str, Any], tmp_path: Path) -> None:
    logs = _run(spec, tmp_path)["Read"].outputs.artifacts["executor-logs"]
    stored = tmp_path / "store" / logs["uri"].replace("://", "/")
    assert stored.read_text("utf-8") == "read abc!\n"


def test_simulator_caches_nodes_until_a_parameter_changes(spec: dict[str, Any], tmp_path: Path) -> None:
    _run(spec, tmp_path)
    again = _run(spec, tmp_path, "2")
    assert {name: result.state for name, result in again.items()} == {"Make": "cached", "Read": "done"}
    assert again["Read"].outputs.parameters == {"content": "abc!"}
    spec["root"]["inputDefinitions"]["parameters"]["word"]["defaultValue"] = "def"
    other = _run(spec, tmp_path, "3")
    assert other["Make"].state == "done" and other["Read"].outputs.parameters == {"content": "def!"}


def test_simulator_reports_the_last_log_line_of_a_failure(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["deploymentSpec"]["executors"]["read"] = _container(
        "import sys; print('a', flush=True); sys.exit('out of luck')"
    )
    with pytest.raises(UserError, match=r"Read ended with code 1: out of luck \(its whole log: .*/log.txt\)"):
        _run(spec, tmp_path)


def test_simulator_calls_back_as_nodes_start_and_end(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["deploymentSpec"]["executors"]["read"] = _container("import sys; sys.exit(1)")
    calls: list[str] = []
    simulator = Simulator(
        tmp_path,
        run_id="1",
        on_start=lambda node: calls.append(f"{node} starts"),
        on_result=lambda result: calls.append(f"{result.node} {result.state}"),
    )
    with pytest.raises(UserError):
        simulator.run(spec, pipeline_root="minio://bucket/knet")
    assert calls == ["Make starts", "Make done", "Read starts", "Read failed"]


def test_container_tasks_are_in_order(spec: dict[str, Any]) -> None:
    assert container_tasks(_with_end(spec)) == ["Make", "Read", "End"]


def test_simulator_refuses_outputs_with_local_uris(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["deploymentSpec"]["executors"]["make"] = _container(_MAKE.replace("URI", "path"), "{{$}}")
    with pytest.raises(UserError, match="Make: the container names .* would not upload it"):
        _run(spec, tmp_path)


_END = """
import os, sys
print("ended run", os.environ["RUN"])
"""


def _with_end(spec: dict[str, Any]) -> dict[str, Any]:
    """Wrap the pipeline in one that has an exit handler."""
    part = {"dag": spec["root"]["dag"], "inputDefinitions": spec["root"]["inputDefinitions"]}
    word = {"parameters": {"word": {"componentInputParameter": "word"}}}
    tasks = {
        "Graph": {"componentRef": {"name": "Graph"}, "inputs": word},
        "End": {
            "componentRef": {"name": "End"},
            "dependentTasks": ["Graph"],
            "inputs": word,
            "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        },
    }
    return {
        "pipelineInfo": spec["pipelineInfo"],
        "root": {**spec["root"], "dag": {"tasks": tasks}},
        "components": {**spec["components"], "Graph": part, "End": {"executorLabel": "end"}},
        "deploymentSpec": {"executors": {**spec["deploymentSpec"]["executors"], "end": _container(_END)}},
    }


_POD = {"fieldPathAsEnv": [{"name": "RUN", "fieldPath": "metadata.labels['pipeline/runid']"}]}
_PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"end": _POD}}}}}


@pytest.mark.parametrize("fails", [False, True])
def test_simulator_runs_exit_handlers_after_success_and_failure(
    spec: dict[str, Any], tmp_path: Path, fails: bool
) -> None:
    if fails:
        spec["deploymentSpec"]["executors"]["make"] = _container("import sys; sys.exit('out of luck')")
    whole = _with_end(spec)
    simulator = Simulator(tmp_path, run_id="7")
    with pytest.raises(UserError, match="Make ended") if fails else nullcontext():
        simulator.run(
            whole, pipeline_root="minio://bucket/knet", platform=_PLATFORM, parameters={"word": "x"}
        )
    assert (tmp_path / "runs/7/End/log.txt").read_text("utf-8") == "ended run 7\n"
    assert (tmp_path / "runs/7/Read/log.txt").exists() is not fails


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dependentTasks": ["Graph", "Graph"]}, "End: Kubeflow would run it after each of Graph, Graph"),
        (
            {"inputs": {"artifacts": {"text": {}}}},
            "End: its input is an output of a task, which is missing after a failure",
        ),
    ],
)
def test_simulator_refuses_invalid_exit_handlers(
    spec: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    whole = _with_end(spec)
    whole["root"]["dag"]["tasks"]["End"].update(change)
    with pytest.raises(UserError, match=message):
        _run(whole, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("executor", "Make: Kubeflow runs containers only, not resolver"),
        ("default", "parameter word has no default value"),
        ("dependency", "Make, Read: depend on a node that does not exist"),
    ],
)
def test_simulator_refuses_what_the_backend_refuses(
    spec: dict[str, Any], tmp_path: Path, change: str, message: str
) -> None:
    changed = deepcopy(spec)
    if change == "executor":
        changed["deploymentSpec"]["executors"]["make"] = {"resolver": {}}
    elif change == "default":
        del changed["root"]["inputDefinitions"]["parameters"]["word"]["defaultValue"]
    else:
        changed["root"]["dag"]["tasks"]["Make"]["dependentTasks"] = ["Nobody"]
    with pytest.raises(UserError, match=message):
        _run(changed, tmp_path)
