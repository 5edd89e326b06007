"""TF Serving's REST interface (predict, classify, status, metadata, metrics) and the web page."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import hdrs, web
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc import StatusCode
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from knet.base import artifact_files, schema_names
from knet.models.model_info import read_model_card
from knet.report.report import environment
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.grpc_services import model_status
from knet.serving.dev_server.metrics import Metrics
from knet.serving.dev_server.models import ServedModels
from knet.serving.dev_server.predictor import Predictor
from knet.serving.dev_server.security import token_middleware
from knet.serving.dev_server.tensors import (
    Inputs,
    classification_reply,
    predict_reply,
    read_classification_request,
    read_predict_request,
)

# The expressions of TF Serving's http_rest_api_util.cc, which match without regard to case. What follows the
# model, a method or `metadata`, is then compared with regard to it.
_API: Final = "/{path:(?i:v1)/.*}"
_VERSION: Final = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_POST: Final = re.compile(
    rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_GET: Final = re.compile(
    rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<subresource>metadata))?", re.IGNORECASE
)


class Rest:
    """Request handlers, and the aiohttp application that routes to them."""

    def __init__(
        self,
        predictor: Predictor,
        models: ServedModels,
        metrics: Metrics,
        *,
        metrics_path: str | None,
        max_bytes: int,
        read_seconds: float,
        token: str | None,
    ) -> None:
        """Build the application.

        Args:
            predictor: answers the requests.
            models: the served models.
            metrics: metrics to expose.
            metrics_path: URL path of the metrics; None does not expose them.
            max_bytes: largest request body.
            read_seconds: time in which a request body must arrive.
            token: bearer token to require; None requires none.
        """
        self._predictor = predictor
        self._models = models
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._read_seconds = read_seconds
        checks = [token_middleware(token, metrics_path=metrics_path)] if token else []
        self.application = web.Application(client_max_size=max_bytes, middlewares=[*checks, _json_errors])
        router = self.application.router
        router.add_route("*", _API, self._api, expect_handler=self._expect)
        if metrics_path:
            router.add_get(metrics_path, self._metrics_text)
        self.application.add_routes(page_routes(models))

    async def _api(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        if request.method == "POST" and (match := _POST.fullmatch(path)):
            spec = _spec(match)
            match match["method"]:
                case "predict":
                    return await self._predict(request, spec)
                case "classify":
                    return await self._classify(request, spec)
                case "regress":
                    raise StatusError(StatusCode.UNIMPLEMENTED, "the development server has no Regress")
        elif request.method == "GET" and (match := _GET.fullmatch(path)):
            spec = _spec(match)
            if not spec.name:
                raise invalid_argument("Missing model name in request.")
            if match["subresource"] == "metadata":
                return await self._metadata(spec)
            return self._status(spec)
        raise invalid_argument(f"Malformed request: {request.method} {path}")

    async def _predict(self, request: web.Request, spec: model_pb2.ModelSpec) -> web.Response:
        predict = predict_pb2.PredictRequest(model_spec=spec)
        body = await self._read(request)

        async def answer() -> dict[str, Any]:
            by_row = await asyncio.to_thread(read_predict_request, body, predict, self._inputs_of(predict))
            reply = await self._predictor.predict(
                predict, patient=request.headers.get(schema_names.PATIENT_HEADER)
            )
            return predict_reply(reply, by_row=by_row)

        return await self._answer(answer, spec, api="Predict")

    async def _classify(self, request: web.Request, spec: model_pb2.ModelSpec) -> web.Response:
        classify = classification_pb2.ClassificationRequest(model_spec=spec)
        body = await self._read(request)

        async def answer() -> dict[str, Any]:
            await asyncio.to_thread(read_classification_request, body, classify)
            return classification_reply(await self._predictor.classify(classify))

        return await self._answer(answer, spec, api="Classify")

    async def _expect(self, request: web.Request) -> None:
        """Answer `Expect: 100-continue`, for which clients wait before they send a large body."""
        if not self._is_too_large(request):  # else the handler answers
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # no part of the reply is sent yet

    async def _read(self, request: web.Request) -> bytes:
        if self._is_too_large(request):
            raise web.HTTPRequestEntityTooLarge(self._max_bytes, request.content_length or 0)
        try:
            return await asyncio.wait_for(request.read(), self._read_seconds)
        except asyncio.TimeoutError:
            text = f"the request did not arrive within {self._read_seconds:g} seconds"
            raise web.HTTPRequestTimeout(text=text) from None
        except web.RequestPayloadError as error:  # such as a broken chunk or gzip stream
            raise invalid_argument(f"the request body is malformed: {error}") from None

    def _is_too_large(self, request: web.Request) -> bool:
        return (request.content_length or 0) > self._max_bytes

    def _status(self, spec: model_pb2.ModelSpec) -> web.Response:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return _json(_with_defaults(model_status(self._models, request)))

    async def _metadata(self, spec: model_pb2.ModelSpec) -> web.Response:
        reply = await self._predictor.metadata(
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(signatures)
        metadata = {"signature_def": _with_defaults(signatures)}
        return _json({"model_spec": _with_defaults(reply.model_spec), "metadata": metadata})

    async def _metrics_text(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), content_type="text/plain")

    async def _answer(
        self, answer: Callable[[], Awaitable[dict[str, Any]]], spec: model_pb2.ModelSpec, *, api: str
    ) -> web.Response:
        return _json(await self._predictor.with_metrics(answer, model=spec.name, api=api, entrypoint="REST"))

    def _inputs_of(self, request: predict_pb2.PredictRequest) -> Callable[[str], Inputs]:
        def inputs_of(name: str) -> Inputs:
            signature = self._models.find(request.model_spec).signature(name or "serving_default")
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            return signature.inputs

        return inputs_of


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["model"] or ""))
    if version := match["version"]:
        if int(version) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label := match["label"]:
        spec.version_label = unquote(label)
    return spec


# Renamed in protobuf 5.
_DEFAULTS: Final[Any] = {
    name: True
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields")
    if name in inspect.signature(json_format.MessageToDict).parameters
}


def _with_defaults(message: Message) -> Any:
    """Convert a message to JSON with its default values, as TF Serving prints status and metadata."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True, **_DEFAULTS)


def _json(tree: Any, *, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(tree), status=status, content_type="application/json")


@web.middleware
async def _json_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Convert errors to TF Serving's JSON form."""
    try:
        return await handler(request)
    except ConnectionError:  # the client left while it sent the request: there is nobody to answer
        return web.Response(status=499)
    except StatusError as error:
        return _json({"error": str(error)}, status=error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
        reply = _json({"error": error.text or error.reason}, status=error.status)
        reply.headers.update(headers)
        return reply


def page_routes(models: ServedModels) -> list[web.AbstractRouteDef]:
    """Routes of the web page, `/`, and of the newest version's model card in JSON, `/card`."""
    page = render_page(model=schema_names.MODEL_NAME)

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def card(request: web.Request) -> web.Response:
        version = models.find(model_pb2.ModelSpec(name=schema_names.MODEL_NAME))
        file = version.folder / artifact_files.MODEL_INFO
        if not file.is_file():
            raise web.HTTPNotFound(text=f"version {version.number} has no {artifact_files.MODEL_INFO}")
        return web.json_response({"version": version.number, **read_model_card(version.folder)})

    return [web.get("/", index), web.get("/card", card)]


def render_page(*, model: str) -> str:
    """Render the web page, with its styles and script inline.

    The page calls TF Serving's REST API and `card`, which is optional.

    Args:
        model: name of the served model.
    """
    return environment("knet.serving.dev_server").get_template("index.html").render(model=model)
