"""TF Serving's REST interface (predict, classify, status, metadata, metrics) and the web page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from google.protobuf import json_format
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
from knet.serving.dev_server.observers import PATIENT_HEADER
from knet.serving.dev_server.predictor import Predictor
from knet.serving.dev_server.security import token_middleware
from knet.serving.dev_server.tensors import (
    Inputs,
    classification_reply,
    predict_reply,
    read_classification_request,
    read_predict_request,
)

_MODEL = r"/v1/models/{model:[^/:]+}"
_VERSIONS = ("", r"/versions/{version:\d+}", "/labels/{label:[^/:]+}")
_METHODS = ("predict", "classify", "regress")


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
        token: str | None,
    ) -> None:
        """Build the application.

        Args:
            predictor: answers the requests.
            models: the served models.
            metrics: metrics to expose.
            metrics_path: URL path of the metrics; None does not expose them.
            max_bytes: largest request body.
            token: bearer token to require; None requires none.
        """
        self._predictor = predictor
        self._models = models
        self._metrics = metrics
        checks = [token_middleware(token, metrics_path=metrics_path)] if token else []
        self.application = web.Application(client_max_size=max_bytes, middlewares=[*checks, _json_errors])
        router = self.application.router
        for version in _VERSIONS:
            router.add_get(f"{_MODEL}{version}", self._status)
            router.add_get(f"{_MODEL}{version}/metadata", self._metadata)
            for method in _METHODS:
                router.add_post(f"{_MODEL}{version}:{method}", getattr(self, f"_{method}"))
        if metrics_path:
            router.add_get(metrics_path, self._metrics_text)
        self.application.add_routes(page_routes(models))

    async def _predict(self, request: web.Request) -> web.Response:
        predict = predict_pb2.PredictRequest(model_spec=_spec(request))
        body = await request.read()

        async def answer() -> dict[str, Any]:
            by_row = await asyncio.to_thread(read_predict_request, body, predict, self._inputs_of(predict))
            reply = await self._predictor.predict(predict, patient=request.headers.get(PATIENT_HEADER))
            return predict_reply(reply, by_row=by_row)

        return await self._answer(answer, request, api="Predict")

    async def _classify(self, request: web.Request) -> web.Response:
        classify = classification_pb2.ClassificationRequest(model_spec=_spec(request))
        body = await request.read()

        async def answer() -> dict[str, Any]:
            await asyncio.to_thread(read_classification_request, body, classify)
            return classification_reply(await self._predictor.classify(classify))

        return await self._answer(answer, request, api="Classify")

    async def _regress(self, request: web.Request) -> web.Response:
        raise StatusError(StatusCode.UNIMPLEMENTED, "the development server has no Regress")

    async def _status(self, request: web.Request) -> web.Response:
        status = model_status(
            self._models, get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(request))
        )
        tree = json_format.MessageToDict(status, preserving_proto_field_name=True)
        for version in tree["model_version_status"]:
            # Default values, which protobuf's JSON omits and TF Serving's has.
            version["status"] = {"error_code": "OK", "error_message": "", **version.get("status", {})}
        return _json(tree)

    async def _metadata(self, request: web.Request) -> web.Response:
        reply = await self._predictor.metadata(
            get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=_spec(request), metadata_field=["signature_def"]
            )
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(signatures)
        spec, definitions = (
            json_format.MessageToDict(message, preserving_proto_field_name=True)
            for message in (reply.model_spec, signatures)
        )
        return _json({"model_spec": spec, "metadata": {"signature_def": definitions}})

    async def _metrics_text(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), content_type="text/plain")

    async def _answer(
        self, answer: Callable[[], Awaitable[dict[str, Any]]], request: web.Request, *, api: str
    ) -> web.Response:
        model = request.match_info["model"]
        return _json(await self._predictor.with_metrics(answer, model=model, api=api, entrypoint="REST"))

    def _inputs_of(self, request: predict_pb2.PredictRequest) -> Callable[[str], Inputs]:
        def inputs_of(name: str) -> Inputs:
            signature = self._models.find(request.model_spec).signature(name or "serving_default")
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            return signature.inputs

        return inputs_of


def _spec(request: web.Request) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=request.match_info["model"])
    if version := request.match_info.get("version"):
        if int(version) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label := request.match_info.get("label"):
        spec.version_label = label
    return spec


def _json(tree: Any, *, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(tree), status=status, content_type="application/json")


@web.middleware
async def _json_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Convert errors to TF Serving's JSON form."""
    try:
        return await handler(request)
    except StatusError as error:
        return _json({"error": str(error)}, status=error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        malformed = error.status in (404, 405) and request.path.startswith("/v1/")
        if malformed:
            text = f"Malformed request: {request.method} {request.path}"
            return _json({"error": text}, status=400)
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
