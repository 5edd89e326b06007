"""The calls of TF Serving that the clients make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from serving import messages


@dataclass(frozen=True)
class Method:
    """One call: where it goes and the messages of it."""

    path: str
    request: Any
    response: Any

    def on(self, channel: Any) -> Any:
        """What makes the call, on a channel of `grpc` or of `grpc.aio`."""
        return channel.unary_unary(
            f"/tensorflow.serving.{self.path}",
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )


PREDICT: Final = Method("PredictionService/Predict", messages.PredictRequest, messages.PredictResponse)
MODEL_METADATA: Final = Method(
    "PredictionService/GetModelMetadata",
    messages.GetModelMetadataRequest,
    messages.GetModelMetadataResponse,
)
MODEL_STATUS: Final = Method(
    "ModelService/GetModelStatus", messages.GetModelStatusRequest, messages.GetModelStatusResponse
)
