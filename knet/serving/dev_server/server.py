"""The development server: loads models, listens, follows new versions and stops gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.dev_server.batcher import Batcher
from knet.serving.dev_server.errors import MalformedMessageInterceptor, StatusError
from knet.serving.dev_server.grpc_services import ModelService, PredictionService
from knet.serving.dev_server.metrics import Metrics
from knet.serving.dev_server.models import ServedModels
from knet.serving.dev_server.observers import Observer
from knet.serving.dev_server.ports import address_of, listen, port_in_use
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
_HTTP_LOG = logging.getLogger(f"{__name__}.http")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Options:
    """Options of a DevServer."""

    # TF Serving's model config, read again when it changes; None serves the newest version only
    models_config: Path | None = None
    batching: Batching | None = None  # None runs each request by itself
    metrics_path: str | None = METRICS_PATH  # on the REST port; None exposes no metrics
    # whether versions run their warm-up requests before they answer, as in TF Serving; a server for a few
    # requests is ready sooner without
    warm_up: bool = True
    poll_seconds: float = 1.0  # between two reads of the versions and the model config
    max_message_bytes: int = 64 * 1024 * 1024
    # for a REST client to send a request, and until an idle connection is closed; proxies close theirs in 60
    rest_seconds: float = 75.0
    max_requests: int = 1000  # concurrent gRPC requests; more fail with RESOURCE_EXHAUSTED
    tls: Tls | None = None  # None serves without encryption
    token: str | None = None  # bearer token that every request must have; None requires none
    grace_seconds: float = 5.0  # for running requests when the server stops
    observers: Sequence[Observer] = ()
    reload_any_folder: bool = False  # whether clients may have models outside of the served folder loaded


class DevServer:
    """A development server, not TF Serving: serves the versions in a folder over the same interface.

    - Interfaces: gRPC PredictionService, ModelService and health checks; TF Serving's REST API and metrics.
    - Invalid requests get TF Serving's status codes and messages.
    - New versions are loaded as they appear.
    - The server runs in a background thread, and its models in others.

    Creating the server loads the models and binds the ports. `start`, or entering it as a context manager,
    starts to answer requests.

    Attributes:
        address: "host:port" of gRPC.
        rest_address: "host:port" of REST; None without a REST port.
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
        """Load the models and bind the ports.

        Args:
            base_path: folder that holds `<version>/saved_model.pb`.
            model: name of the served model, unless the options have a models_config.
            host: address to listen on.
            port: gRPC port; 0 picks a free one.
            rest_port: port of REST, metrics and the web page; 0 picks a free one, None serves gRPC only.
            options: further options.

        Raises:
            UserError: `base_path` is missing or has no version that can be loaded, a file of the options is
                invalid, or a port is in use.
        """
        _require_version(base_path)
        self._base_path = base_path
        self._options = options
        self._host = host
        self._model = model
        self._metrics = Metrics()
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore_wakeups)
        self._thread = threading.Thread(target=self._loop.run_forever, name="dev-server", daemon=True)
        self._thread.start()
        try:
            self._wait_for(self._open(base_path, port=port, rest_port=rest_port))
        except BaseException:
            self._end_loop()
            raise

    @property
    def version(self) -> int:
        """The newest loaded version of the model."""
        return self._models.find(model_pb2.ModelSpec(name=self._model)).number

    def __enter__(self) -> DevServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to answer requests."""
        self._wait_for(self._start())

    def stop(self) -> None:
        """Reject new requests, let running ones end within the grace period, and free the ports.

        The server cannot be started again.
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
        self._models = ServedModels(config, on_load=self._metrics.count_load, warm_up=options.warm_up)
        await self._models.update()
        if not self._models.ready:
            raise UserError(
                f"no version in {base_path} can be loaded: {'; '.join(self._models.errors)}; run the "
                "pipeline again, which pushes a damaged model again"
            )
        self._batcher = Batcher(options.batching)
        self._predictor = Predictor(self._models, self._batcher, self._metrics, observers=options.observers)
        tls = options.tls.ssl_context() if options.tls else None  # validates the files, which gRPC does not
        self._grpc = self._grpc_server()
        address = address_of(self._host, port)
        try:
            if options.tls:
                bound = self._grpc.add_secure_port(address, options.tls.server_credentials())
            else:
                bound = self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise port_in_use(address) from error
        self.address = address_of(self._host, bound)
        self.rest_address: str | None = None
        if rest_port is not None:
            await self._open_rest(rest_port, tls)

    def _grpc_server(self) -> grpc.aio.Server:
        options = self._options
        tokens = [TokenInterceptor(options.token)] if options.token else []
        server = grpc.aio.server(
            interceptors=[*tokens, MalformedMessageInterceptor()],
            maximum_concurrent_rpcs=options.max_requests,
            options=[
                ("grpc.so_reuseport", 0),  # two servers must not share the port
                # gRPC ends calls that a process did not accept in 30 seconds, without a status: clients see
                # CANCELLED. Their deadlines and maximum_concurrent_rpcs are the limits.
                ("grpc.server_max_unrequested_time_in_server", 2**31 - 1),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self._predictor), server
        )
        below = None if options.reload_any_folder else self._base_path
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self._models, reload_below=below), server
        )
        return server

    async def _open_rest(self, port: int, tls: Any) -> None:
        listening = listen(self._host, port)
        self.rest_address = address_of(self._host, listening.getsockname()[1])
        options = self._options
        rest = Rest(
            self._predictor,
            self._models,
            self._metrics,
            metrics_path=options.metrics_path,
            # base64 takes four characters for three bytes
            max_bytes=options.max_message_bytes * 4 // 3,
            read_seconds=options.rest_seconds,
            token=options.token,
        )
        self._runner = web.AppRunner(
            rest.application,
            access_log=None,
            shutdown_timeout=options.grace_seconds,
            keepalive_timeout=options.rest_seconds,
            logger=_HTTP_LOG,
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
        """Follow the folders and the model config until cancelled."""
        current = self._read_config()
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                latest = self._read_config()
                if latest != current:
                    # Fails if a label moves to a version that is not loaded yet: then again after the update.
                    with contextlib.suppress(StatusError):
                        await self._models.reload(latest)
                        current = latest
                await self._models.update()
                if latest != current:
                    await self._models.reload(latest)
                    current = latest
            except (StatusError, UserError, OSError) as error:
                _LOG.error("served versions unchanged: %s", error)

    def _read_config(self) -> Any:
        file = self._options.models_config
        return read_models_config(file) if file else None

    def _wait_for(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _ignore_wakeups(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore the harmless BlockingIOError that gRPC raises in event loops that it wakes without need."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


def _is_fault_of_server(record: logging.LogRecord) -> bool:
    """Leave malformed requests, of which aiohttp logs tracebacks, out of the log."""
    error = record.exc_info and record.exc_info[1]
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_HTTP_LOG.addFilter(_is_fault_of_server)


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


def serve_until_stopped(server: DevServer, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run a server until SIGTERM or SIGINT, then stop it gracefully; call it in the main thread only.

    Args:
        server: the server, not started yet.
        on_ready: called when the server answers requests.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        on_ready()
        stopped.wait()
