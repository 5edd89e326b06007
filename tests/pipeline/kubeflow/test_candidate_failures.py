"""A candidate's failure on Kubeflow: recorded in its outputs, passed on, left out, and retried."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.utils import import_utils

from knet.base.errors import UserError
from pipeline.kubeflow import artifact_uris
from pipeline.kubeflow.candidate_failures import MAY_FAIL_VARIABLE, last_failures
from pipeline.kubeflow.entrypoint import main

Message = dict[str, Any]
_RUN = "b7a88f5c-2b97-4ab7-89f2-0a171f9cdf5a"  # of the recorded messages


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(artifact_uris, "MOUNTS", {"minio://": f"{tmp_path}/minio/"})
    monkeypatch.setenv("KFP_RUN_ID", _RUN)
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path / "registry"))
    return tmp_path


class Containers:
    """Containers of the compiled pipeline, with executors that a test replaces."""

    def __init__(
        self, graph: Message, recorded: Callable[[str], Message], pod: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._graph, self._recorded, self._pod, self._monkeypatch = graph, recorded, pod, monkeypatch

    def run(
        self,
        node: str,
        do: Callable[..., None],
        metadata: dict[str, Message] | None = None,
        *,
        shown: tuple[str, ...] = (),
    ) -> dict[str, Message]:
        """Run the entrypoint of a node and return the metadata of its outputs by name.

        Args:
            node: name of the node.
            do: replaces the executor.
            metadata: of input artifacts, by name.
            shown: names of the artifacts for the web interface that the launcher expects.
        """
        component = self._graph["components"]["Graph"]["dag"]["tasks"][node]["componentRef"]["name"]
        executor = self._graph["deploymentSpec"]["executors"][
            self._graph["components"][component]["executorLabel"]
        ]
        arguments = executor["container"]["args"]
        message = self._recorded(node)
        message["outputs"]["outputFile"] = f"{self._pod}{message['outputs']['outputFile']}"
        for name in shown:
            artifact = {"name": name, "uri": f"minio://mlpipeline/{name}"}
            message["outputs"]["artifacts"][name] = {"artifacts": [artifact]}
        for name, values in (metadata or {}).items():
            message["inputs"]["artifacts"][name]["artifacts"][0]["metadata"].update(values)
        for variable in executor["container"]["env"]:
            if variable["name"] in ("KNET_NODE", MAY_FAIL_VARIABLE):
                self._monkeypatch.setenv(variable["name"], variable["value"])
        self._monkeypatch.setattr(
            import_utils.import_class_by_path(arguments[1]), "Do", lambda self, *given: do(*given)
        )
        main([word.replace("{{$}}", json.dumps(message)) for word in arguments])
        written = json.loads(Path(message["outputs"]["outputFile"]).read_text("utf-8"))["artifacts"]
        return {name: held["artifacts"][0]["metadata"] for name, held in written.items()}


@pytest.fixture
def containers(
    recorded_graph: Message,
    recorded: Callable[[str], Message],
    pod: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Containers:
    monkeypatch.delenv(MAY_FAIL_VARIABLE, raising=False)
    return Containers(recorded_graph, recorded, pod, monkeypatch)


def _fail(error: Exception) -> Callable[..., None]:
    def do(*_: Any) -> None:
        raise error

    return do


def test_trainer_records_its_failure_and_empties_its_outputs(containers: Containers, pod: Path) -> None:
    def do(inputs: Any, outputs: Any, properties: Any) -> None:
        folder = Path(outputs["model"][0].uri)
        folder.mkdir(parents=True)
        (folder / "half").touch()
        raise UserError("the loss is not finite")

    written = containers.run("Trainer-vgg16", do)
    assert set(written) == {"model", "model_run"}
    failure = {"node": "Trainer-vgg16", "error": "the loss is not finite", "run": _RUN}
    assert [json.loads(metadata["failure"]) for metadata in written.values()] == [failure, failure]
    (file,) = [path for path in pod.rglob("model/*") if path.is_file()]
    assert json.loads(file.read_text("utf-8")) == failure  # so that the launcher uploads something
    assert last_failures(str(pod / "registry"))["Trainer-vgg16"].run == _RUN


def test_trainer_that_failed_says_so_in_the_web_interface(containers: Containers, pod: Path) -> None:
    do = _fail(UserError("the loss is not finite"))
    written = containers.run("Trainer-vgg16", do, shown=("metrics", "learning_curves"))
    why = "Trainer-vgg16: the loss is not finite"
    assert written["metrics"] == {"failed": 1, "error": why}
    (page,) = pod.rglob("learning_curves")
    assert page.read_text("utf-8") == f"failed: {why}\n"


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), OSError(errno.ENOSPC, "No space left on device", "/x")]
)
def test_trainer_fails_on_other_errors(
    containers: Containers, pod: Path, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        containers.run("Trainer-vgg16", _fail(error))
    assert ended.value.code == 1 and str(error) in capfd.readouterr().err
    assert last_failures(str(pod / "registry")) == {}


def test_trainer_fails_if_all_candidates_are_required(
    containers: Containers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pipeline.kubeflow.candidate_failures.MAY_FAIL_VARIABLE", "KNET_NOT_SET_BY_REQUIRE_ALL"
    )
    with pytest.raises(SystemExit):
        containers.run("Trainer-vgg16", _fail(UserError("the loss is not finite")))
    assert capfd.readouterr().err.endswith("error: UserError: the loss is not finite\n")


def test_trainer_fails_if_the_failure_cannot_be_saved(
    containers: Containers, pod: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Otherwise Kubeflow would keep answering later runs with the failure."""
    (pod / "registry").write_text("a file, in which nothing can be written")
    with pytest.raises(SystemExit):
        containers.run("Trainer-vgg16", _fail(UserError("the loss is not finite")))
    assert "registry" in capfd.readouterr().err


@pytest.fixture
def failed(containers: Containers) -> Message:
    """Return the metadata of a failed Trainer's model."""
    return containers.run("Trainer-vgg16", _fail(UserError("the loss is not finite")))["model"]


def test_evaluator_passes_the_failure_on(containers: Containers, failed: Message) -> None:
    written = containers.run("Evaluator-vgg16", _fail(AssertionError("it has no model")), {"model": failed})
    assert written["evaluation"]["failure"] == failed["failure"]


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("ModelSelector", ("model_vgg16", "evaluation_vgg16")),
        ("ServingValidator", ("model_run_vgg16",)),
    ],
)
def test_nodes_of_all_candidates_run_without_failed_inputs(
    containers: Containers, failed: Message, node: str, inputs: tuple[str, ...]
) -> None:
    given: dict[str, Any] = {}
    written = containers.run(node, lambda inputs, *_: given.update(inputs), dict.fromkeys(inputs, failed))
    assert given and not set(inputs) & set(given)
    assert any(name.endswith("mobilenet") for name in given)
    assert all("failure" not in metadata for metadata in written.values())
