"""Tests of loading and unloading versions, without losing a request."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from knet.serving.dev_server import models as module
from knet.serving.dev_server.errors import StatusError
from knet.serving.dev_server.models import ServedModels
from knet.serving.dev_server.server import DevServer, Options
from knet.serving.model_store import push_version, rollback
from knet.serving.models_config import ModelServerConfig, write_models_config

KNET = model_pb2.ModelSpec(name="knet")


def config_of(base_path: Path, policy: str = "latest { num_versions: 1 }", labels: str = "") -> Any:
    text = (
        f'model_config_list {{ config {{ name: "knet" base_path: "{base_path}" model_platform: "tensorflow" '
        f"model_version_policy {{ {policy} }} {labels} }} }}"
    )
    return text_format.Parse(text, ModelServerConfig())


@pytest.fixture
def put(tmp_path: Path, saved_model: Path) -> Callable[[int], None]:
    """Put a version into the folder `tmp_path`."""

    def put(version: int) -> None:
        shutil.copytree(saved_model, tmp_path / f".{version}")
        (tmp_path / f".{version}").rename(tmp_path / str(version))

    return put


def states(models: ServedModels) -> dict[int, str]:
    return {version: status.state for version, status in models.statuses(KNET).items()}


@pytest.mark.parametrize(
    ("policy", "loaded"),
    [
        ("latest { num_versions: 1 }", [3]),
        ("latest { num_versions: 2 }", [2, 3]),
        ("all {}", [1, 2, 3]),
        ("specific { versions: [1, 9] }", [1]),
    ],
)
def test_update_loads_the_versions_of_the_policy(
    tmp_path: Path, put: Callable[[int], None], policy: str, loaded: list[int]
) -> None:
    for version in (1, 2, 3):
        put(version)

    async def scenario() -> None:
        models = ServedModels(config_of(tmp_path, policy))
        await models.update()
        assert states(models) == dict.fromkeys(loaded, "AVAILABLE")
        assert models.find(KNET).number == max(loaded)

    asyncio.run(scenario())


@pytest.mark.parametrize(("withdrawn", "spare"), [(3, 1), (2, 3)])
def test_update_unloads_a_withdrawn_version_before_a_spare_loads(
    tmp_path: Path,
    put: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    withdrawn: int,
    spare: int,
) -> None:
    put(kept := 6 - withdrawn - spare)
    put(withdrawn)
    while_loading: list[dict[int, str]] = []

    async def scenario() -> None:
        versions = f"specific {{ versions: [{kept}, {withdrawn}] }}"
        models = ServedModels(config_of(tmp_path, versions))
        await models.update()
        load = module._load

        def load_spare(folder: Path, **options: Any) -> Any:
            while_loading.append(states(models))
            return load(folder, **options)

        monkeypatch.setattr(module, "_load", load_spare)
        put(spare)
        await models.reload(config_of(tmp_path, f"specific {{ versions: [{kept}, {spare}] }}"))
        gc.collect()
        assert states(models) == {kept: "AVAILABLE", spare: "AVAILABLE", withdrawn: "END"}

    asyncio.run(scenario())
    (seen,) = while_loading
    assert seen[withdrawn] in ("UNLOADING", "END")


def test_update_frees_an_unloaded_version_after_its_last_request(
    tmp_path: Path, put: Callable[[int], None]
) -> None:
    put(1)

    async def scenario() -> None:
        models = ServedModels(config_of(tmp_path))
        await models.update()
        old = models.find(KNET)
        freed = weakref.ref(old)
        put(2)
        await models.update()
        assert models.find(KNET).number == 2
        assert states(models) == {1: "UNLOADING", 2: "AVAILABLE"}
        signature = old.signature("double")
        assert signature is not None
        answer = old.run(signature, {"x": tf.constant([1.0, 2.0]).numpy()})
        assert answer["y"].tolist() == [2, 4]
        del old
        gc.collect()
        assert freed() is None
        assert states(models) == {1: "END", 2: "AVAILABLE"}

    asyncio.run(scenario())


def test_update_damaged_version_keeps_the_previous_one(tmp_path: Path, put: Callable[[int], None]) -> None:
    put(1)
    attempts: list[tuple[str, str]] = []

    async def scenario() -> None:
        models = ServedModels(config_of(tmp_path), on_load=lambda *attempt: attempts.append(attempt))
        await models.update()
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "saved_model.pb").write_bytes(b"damaged")
        await models.update()
        await models.update()
        assert models.find(KNET).number == 1
        assert states(models) == {1: "AVAILABLE", 2: "END"}
        assert "version 2 of knet" in models.errors[0]
        assert [Path(path).name for path, status in attempts if status != "OK"] == ["2"]
        shutil.rmtree(tmp_path / "2")
        put(2)
        await models.update()
        assert models.find(KNET).number == 2 and not models.errors

    asyncio.run(scenario())


def test_reload_label_on_unavailable_version_is_refused(tmp_path: Path, put: Callable[[int], None]) -> None:
    for version in (1, 2):
        put(version)
    label = 'version_labels {{ key: "stable" value: {} }}'

    def labelled() -> int:
        return models.find(model_pb2.ModelSpec(name="knet", version_label="stable")).number

    async def scenario() -> None:
        await models.update()
        assert labelled() == 2
        with pytest.raises(
            StatusError, match="assign label to version 1 of model knet, which is not curr"
        ) as caught:
            await models.reload(config_of(tmp_path, labels=label.format(1)))
        assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION and labelled() == 2
        await models.reload(config_of(tmp_path, "all {}", labels=label.format(2)))
        await models.reload(config_of(tmp_path, "all {}", labels=label.format(1)))
        assert labelled() == 1
        with pytest.raises(StatusError, match="did not become available: {knet}"):
            await models.reload(config_of(tmp_path, "specific { versions: 9 }"))

    models = ServedModels(config_of(tmp_path, labels=label.format(2)))
    asyncio.run(scenario())


@pytest.fixture
def served(tmp_path: Path, saved_model: Path) -> Iterator[tuple[DevServer, Path]]:
    """A server that polls the model config of a folder often, and the folder, with one version."""
    base = tmp_path / "knet"
    push_version(saved_model, base)
    options = Options(models_config=base / "models.config", poll_seconds=0.05)
    with DevServer(base, port=0, options=options) as server:
        yield server, base


def test_server_loses_no_request_over_pushes_and_rollback(
    served: tuple[DevServer, Path], saved_model: Path
) -> None:
    server, base = served
    request = predict_pb2.PredictRequest(model_spec={"name": "knet", "signature_name": "double"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    stopping = threading.Event()
    answered: list[set[int]] = []

    def ask() -> None:
        seen = set()
        with grpc.insecure_channel(server.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stopping.is_set():
                seen.add(stub.Predict(request, timeout=60).model_spec.version.value)
        answered.append(seen)

    def wait_for(version: int) -> None:
        for _ in range(400):
            if server.version == version:
                return
            stopping.wait(0.025)
        pytest.fail(f"version {version} is not served: {server.version} is")

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    first = server.version
    pushed = [first]
    for _ in range(3):
        pushed.append(int(push_version(saved_model, base)))
        wait_for(pushed[-1])
    rollback(base, pushed[1])
    wait_for(pushed[1])
    stopping.set()
    for client in clients:
        client.join()
    assert len(answered) == 4  # none ended with an error
    assert set.union(*answered) == set(pushed)


def test_server_labels_follow_pushes_and_rollbacks(served: tuple[DevServer, Path], saved_model: Path) -> None:
    server, base = served
    first = server.version
    second = int(push_version(saved_model, base))
    request = predict_pb2.PredictRequest(model_spec={"name": "knet", "signature_name": "double"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def labelled(label: str) -> int:
            request.model_spec.version_label = label
            version: int = stub.Predict(request).model_spec.version.value
            return version

        def come_true(canary: int, stable: int) -> bool:
            for _ in range(400):
                if (labelled("canary"), labelled("stable")) == (canary, stable):
                    return True
                threading.Event().wait(0.025)
            return False

        assert come_true(canary=second, stable=first)
        rollback(base, first, grace_seconds=1)
        assert come_true(canary=first, stable=first)


def test_server_reloads_only_below_the_served_folder(served: tuple[DevServer, Path], tmp_path: Path) -> None:
    server, base = served
    (base / "link").symlink_to(tmp_path)
    for name in ("other", "knet-other"):
        (tmp_path / name).mkdir()
    with grpc.insecure_channel(server.address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        for folder in (tmp_path, f"{base}/../other", f"{base}-other", base / "link", "/etc"):
            request = _reload_request({"knet": str(base), "second": str(folder)})
            with pytest.raises(
                grpc.RpcError, match="second is not below the served one: .*reload-any-folder"
            ):
                stub.HandleReloadConfigRequest(request)
        assert stub.HandleReloadConfigRequest(_reload_request({"knet": str(base)})).HasField("status")
    assert server.version


def test_server_reloads_a_config_from_a_request(saved_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "knet"
    push_version(saved_model, base)
    other = tmp_path / "other"
    push_version(saved_model, other)
    options = Options(reload_any_folder=True)
    with (
        DevServer(base, port=0, options=options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        both = _reload_request({"knet": str(base), "second": str(other)})
        assert stub.HandleReloadConfigRequest(both).HasField("status")
        status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "second"})
        assert stub.GetModelStatus(status).model_version_status[0].state == 30  # AVAILABLE
        stub.HandleReloadConfigRequest(_reload_request({"knet": str(base)}))
        states = {version.state for version in _statuses(stub, "knet")}
        assert states == {30}
        with pytest.raises(grpc.RpcError, match="Could not find any versions of model second"):
            stub.GetModelStatus(status)


def _reload_request(folders: dict[str, str]) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    for name, folder in folders.items():
        request.config.model_config_list.config.add(name=name, base_path=folder, model_platform="tensorflow")
    return request


def _statuses(stub: Any, name: str) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
    return stub.GetModelStatus(request).model_version_status


def test_served_models_accept_a_written_config(tmp_path: Path, put: Callable[[int], None]) -> None:
    put(5)
    put(6)
    options = Options(models_config=write_models_config(tmp_path))
    with DevServer(tmp_path, port=0, options=options) as server:
        assert server.version == 6


@pytest.mark.parametrize("warm_up", [True, False])
def test_warm_up_requests_run_unless_the_server_is_for_a_few_requests(
    tmp_path: Path, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch, warm_up: bool
) -> None:
    put(1)
    ran: list[int] = []
    monkeypatch.setattr(module, "run_warm_up_requests", lambda version: ran.append(version.number))
    models = ServedModels(config_of(tmp_path, "latest { num_versions: 1 }"), warm_up=warm_up)
    asyncio.run(models.update())
    assert ran == [1] * warm_up
