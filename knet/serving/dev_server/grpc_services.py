"""gRPC services of the development server: PredictionService and ModelService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    status_pb2,
)

from knet.base import schema_names
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.models import ServedModels, check_config
from knet.serving.dev_server.predictor import Predictor
from knet.serving.models_config import ModelServerConfig


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify and GetModelMetadata; Regress and MultiInference are not implemented."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        predict = partial(self._predictor.predict, patient=_patient(context))
        return await self._answer(predict, request, context, api="Predict")

    async def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.aio.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        return await self._answer(self._predictor.classify, request, context, api="Classify")

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return await self._answer(self._predictor.metadata, request, context, api="GetModelMetadata")

    async def Regress(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the development server has no Regress")

    async def MultiInference(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the development server has no MultiInference")

    async def _answer(
        self, answer: Callable[[Any], Awaitable[Any]], request: Any, context: Any, *, api: str
    ) -> Any:
        model = request.model_spec.name
        try:
            return await self._predictor.with_metrics(
                lambda: answer(request), model=model, api=api, entrypoint="GRPC"
            )
        except StatusError as error:
            await context.abort(error.code, str(error))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, models: ServedModels, *, reload_below: Path | None = None) -> None:
        """Create the service.

        Args:
            models: the models.
            reload_below: folder that holds the folders of every model that a client may have loaded. Default:
                any folder; a SavedModel can read the files of the server's user.
        """
        self._models = models
        self._reload_below = reload_below and reload_below.resolve()

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        try:
            return model_status(self._models, request)
        except StatusError as error:
            return await context.abort(error.code, str(error))

    async def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.aio.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        config = ModelServerConfig.FromString(request.config.SerializeToString())
        try:
            self._check_folders(config)
            await self._models.reload(config)
        except StatusError as error:
            return await context.abort(error.code, str(error))
        return model_management_pb2.ReloadConfigResponse(status=status_pb2.StatusProto())

    def _check_folders(self, config: Any) -> None:
        check_config(config)
        for model in config.model_config_list.config:
            folder, below = Path(model.base_path).resolve(), self._reload_below
            if below and folder.is_dir() and not folder.is_relative_to(below):
                raise StatusError(
                    grpc.StatusCode.PERMISSION_DENIED,
                    f"the folder of model {model.name} is not below the served one: start the server with "
                    "--reload-any-folder",
                )


def _patient(context: grpc.aio.ServicerContext) -> str | None:
    value = dict(context.invocation_metadata() or ()).get(schema_names.PATIENT_HEADER)
    return value if isinstance(value, str) else None


def model_status(
    models: ServedModels, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Report the state of the versions of a model.

    Raises:
        StatusError: the request names no model, or an unknown one.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    reply = get_model_status_pb2.GetModelStatusResponse()
    for version, status in models.statuses(request.model_spec).items():
        reply.model_version_status.add(
            version=version,
            state=status.state,
            status={"error_code": "UNKNOWN", "error_message": status.error} if status.error else {},
        )
    return reply
