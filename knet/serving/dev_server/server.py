"""The development server: its life from loading models to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.dev_server.batcher import Batcher
from knet.serving.dev_server.errors import MalformedInterceptor, StatusError
from knet.serving.dev_server.grpc_services import ModelService, PredictionService
from knet.serving.dev_server.metrics import Metrics, Observer
from knet.serving.dev_server.models import ServedModels
from knet.serving.dev_server.predictor import Predictor
from knet.serving.dev_server.rest import Rest
from knet.serving.dev_server.security import Tls, TokenInterceptor
from knet.serving.models_config import (
    METRICS_PATH,
    Batching,
    ModelServerConfig,
    newest_version,
    read_models_config,
)

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Options:
    """Options of a DevServer."""

    # TF Serving's model config, which is read again when it changes; none serves the newest version alone
    models_config: Path | None = None
    batching: Batching | None = None  # none answers each request by itself
    metrics_path: str | None = METRICS_PATH  # of the REST interface; none has no metrics
    poll_seconds: float = 1.0  # between two looks at the versions and the model config
    max_message_bytes: int = 64 * 1024 * 1024
    max_requests: int = 1000  # at once, over gRPC; more are refused as RESOURCE_EXHAUSTED
    tls: Tls | None = None  # none sends in the clear
    token: str | None = None  # that every request must bring
    grace_seconds: float = 5.0  # that running requests get when the server stops
    observers: Sequence[Observer] = ()


class DevServer:
    """A development server, not TF Serving: the versions below a folder, over the same interface.

    Answers gRPC's PredictionService, ModelService and health checks, and TF Serving's REST interface with
    its metrics; refuses what TF Serving refuses; loads newer versions as they come. `base_path` holds
    `<version>/saved_model.pb`; port 0 takes a free one. Making the server loads the models and takes the
    ports; `start`, or entering it as a context manager, begins to answer. `address` is "host:port" with the
    port taken, `rest_address` likewise where there is a REST port, `version` the newest version loaded.

    It runs in a thread of its own, and its models in others.

    Raises UserError when `base_path` is missing or holds no version that can be loaded, when a file of the
    options is not what it should be, or when a port is taken.
    """

    def __init__(
        self,
        base_path: Path,
        *,
        model: str = schema_names.MODEL_NAME,
        host: str = "127.0.0.1",
        port: int = 8500,
        rest_port: int | None = None,
        options: Options = Options(),
    ) -> None:
        _require_version(base_path)
        self._options = options
        self._host = host
        self._model = model
        self._metrics = Metrics()
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_pass_over_wakeups)
        self._thread = threading.Thread(target=self._loop.run_forever, name="dev-server", daemon=True)
        self._thread.start()
        try:
            self._wait_for(self._open(base_path, port=port, rest_port=rest_port))
        except BaseException:
            self._end_loop()
            raise

    @property
    def version(self) -> int:
        """The newest version of the model that is loaded."""
        return self._models.find(model_pb2.ModelSpec(name=self._model)).number

    def __enter__(self) -> DevServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._wait_for(self._start())

    def stop(self) -> None:
        """Take no more requests, let running ones end within the grace, and free the ports.

        It cannot start again.
        """
        with self._stopping:
            if not self._stopped.is_set():
                self._wait_for(self._stop())
                self._end_loop()
                self._stopped.set()

    def wait(self) -> None:
        """Block until another thread stops the server."""
        self._stopped.wait()

    async def _open(self, base_path: Path, *, port: int, rest_port: int | None) -> None:
        options = self._options
        config = _models_config(base_path, self._model, options.models_config)
        self._models = ServedModels(config, loads=self._metrics.loaded)
        await self._models.update()
        if not self._models.ready:
            raise UserError(f"no version in {base_path} can be loaded: {'; '.join(self._models.errors)}")
        self._batcher = Batcher(options.batching)
        self._predictor = Predictor(self._models, self._batcher, self._metrics, observers=options.observers)
        tls = options.tls.of_http() if options.tls else None  # looks at the files more closely than gRPC does
        self._grpc = self._grpc_server()
        address = f"{self._host}:{port}"
        try:
            if options.tls:
                taken = self._grpc.add_secure_port(address, options.tls.of_grpc())
            else:
                taken = self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise _taken(address) from error
        self.address = f"{self._host}:{taken}"
        self.rest_address: str | None = None
        if rest_port is not None:
            await self._open_rest(rest_port, tls)

    def _grpc_server(self) -> grpc.aio.Server:
        options = self._options
        tokens = [TokenInterceptor(options.token)] if options.token else []
        server = grpc.aio.server(
            interceptors=[*tokens, MalformedInterceptor()],
            maximum_concurrent_rpcs=options.max_requests,
            options=[
                ("grpc.so_reuseport", 0),  # else two servers would share the port and split the requests
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self._predictor), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._models), server)
        return server

    async def _open_rest(self, port: int, tls: Any) -> None:
        try:
            listening = socket.create_server((self._host, port))
        except OSError as error:
            raise _taken(f"{self._host}:{port}") from error
        self.rest_address = f"{self._host}:{listening.getsockname()[1]}"
        options = self._options
        rest = Rest(
            self._predictor,
            self._models,
            self._metrics,
            metrics_path=options.metrics_path,
            # base64 takes four characters for three bytes
            max_bytes=options.max_message_bytes * 4 // 3,
            token=options.token,
        )
        self._runner = web.AppRunner(
            rest.application, access_log=None, shutdown_timeout=options.grace_seconds
        )
        await self._runner.setup()
        self._site = web.SockSite(self._runner, listening, ssl_context=tls)

    async def _start(self) -> None:
        await self._grpc.start()
        if self.rest_address:
            await self._site.start()
        for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._watching = asyncio.create_task(self._watch())

    async def _stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        if watching := getattr(self, "_watching", None):
            watching.cancel()
        await self._grpc.stop(self._options.grace_seconds)
        if self.rest_address:
            await self._runner.cleanup()
        self._batcher.close()
        self._predictor.close()

    async def _watch(self) -> None:
        """Looks at the folders, and at the model config, until it is cancelled."""
        read = self._read_config()
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                latest = self._read_config()
                if latest != read:
                    # Labels leave a version before it goes, and come to a new one when it is loaded.
                    with contextlib.suppress(StatusError):
                        await self._models.reload(latest)
                        read = latest
                await self._models.update()
                if latest != read:
                    await self._models.reload(latest)
                    read = latest
            except (StatusError, UserError, OSError) as error:
                _LOG.error("what is served stays as it is: %s", error)

    def _read_config(self) -> Any:
        file = self._options.models_config
        return read_models_config(file) if file else None

    def _wait_for(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _pass_over_wakeups(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Passes over what gRPC raises, harmlessly, in event loops that it wakes without need."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


def _models_config(base_path: Path, model: str, file: Path | None) -> Any:
    if file:
        return read_models_config(file)
    config = ModelServerConfig()
    config.model_config_list.config.add(
        name=model, base_path=str(base_path.resolve()), model_platform="tensorflow"
    )
    return config


def _require_version(base_path: Path) -> None:
    if not base_path.is_dir():
        raise UserError(f"{base_path} is not a folder: give the one that the pipeline pushes models to")
    if newest_version(base_path) is None:
        raise UserError(f"{base_path} holds no model yet: run the pipeline until it pushes one there")


def _taken(address: str) -> UserError:
    return UserError(
        f"cannot listen on {address}: the port is taken, or the host is not this machine's; give another"
    )


def serve_until_stopped(server: DevServer) -> None:
    """Starts a server, and stops it with its grace when SIGTERM or SIGINT comes; in the main thread alone."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with server:
        told.wait()
