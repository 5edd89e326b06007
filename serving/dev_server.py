"""A development server, not TF Serving: answers the same gRPC calls in this process, for trials and tests."""

from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from pipeline import features
from pipeline.errors import UserError
from serving.versions import SAVED_MODEL, newest_version

_GRACE = 5.0  # seconds that running requests get when the server stops
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}  # tf.errors bear the same numbers
_STATUS_CHARACTERS = 1024  # gRPC drops a reply whose status text is too long; TF Serving cuts there too


class DevServer:
    """A development server, not TF Serving: the newest version below a folder, over the same gRPC calls.

    Answers Predict, GetModelMetadata and GetModelStatus, and refuses what TF Serving refuses. It neither
    watches for newer versions nor batches requests. `base_path` holds `<version>/saved_model.pb`; port 0
    takes a free one. Making the server loads the model and takes the port; `start`, or entering it as a
    context manager, begins to answer. `address` is "host:port" with the port taken, `version` the version
    loaded.

    Raises UserError when `base_path` is missing or holds no complete version, or when the port is taken.
    """

    def __init__(
        self,
        base_path: Path,
        *,
        model: str = features.MODEL_NAME,
        host: str = "127.0.0.1",
        port: int = 8500,
    ) -> None:
        loaded = _Model(_newest_version(base_path), name=model)
        self.version = loaded.version
        self._server = grpc.server(
            futures.ThreadPoolExecutor(),
            options=[
                ("grpc.so_reuseport", 0),  # else two servers would share the port and split the requests
                ("grpc.max_receive_message_length", -1),  # no limit, like TF Serving
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(loaded), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(loaded), self._server)
        try:
            self.address = f"{host}:{self._server.add_insecure_port(f'{host}:{port}')}"
        except RuntimeError as error:
            raise UserError(
                f"cannot listen on {host}:{port}: the port is taken, or the host is not this machine's; "
                "give another"
            ) from error

    def __enter__(self) -> "DevServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer, in threads of this process."""
        self._server.start()

    def stop(self) -> None:
        """Take no more requests, give running ones five seconds, and free the port; it cannot start again."""
        self._server.stop(_GRACE).wait()

    def wait(self) -> None:
        """Block until another thread stops the server."""
        self._server.wait_for_termination()


class _Model:
    """One loaded version; refuses what TF Serving refuses, by raising tf.errors."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self.name = name
        self.version = int(folder.name)
        # Kept whole: its signatures do not keep the variables alive.
        self._loaded = tf.saved_model.load(str(folder))
        saved_model = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
        self.signature_defs = saved_model.meta_graphs[0].signature_def

    def spec(self, signature: str = "") -> model_pb2.ModelSpec:
        """Return the model_spec of a reply."""
        return model_pb2.ModelSpec(name=self.name, version={"value": self.version}, signature_name=signature)

    def require(self, spec: model_pb2.ModelSpec) -> None:
        """Raise NotFoundError unless a request asks for this model, and this version or the latest."""
        match spec.WhichOneof("version_choice"):
            case None:
                request = f"Latest({spec.name})"
            case "version":
                request = f"Specific({spec.name}, {spec.version.value})"
            case _:
                request = f"Label({spec.name}, {spec.version_label})"
        if request not in (f"Latest({self.name})", f"Specific({self.name}, {self.version})"):
            raise tf.errors.NotFoundError(None, None, f"Servable not found for request: {request}")

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Run one signature; raises NotFoundError, InvalidArgumentError or what the graph raises."""
        self.require(request.model_spec)
        name = request.model_spec.signature_name or features.SERVING_SIGNATURE
        if name not in self._loaded.signatures:
            raise _invalid(f'Serving signature key "{name}" not found.')
        signature = self._loaded.signatures[name]
        inputs = _inputs(request.inputs, signature.structured_input_signature[1])
        wanted = request.output_filter or signature.structured_outputs
        if unknown := set(wanted) - set(signature.structured_outputs):
            raise _invalid(
                f"output tensor alias not found in signature: {', '.join(sorted(unknown))} "
                f"Outputs expected to be in the set {{{','.join(sorted(signature.structured_outputs))}}}."
            )
        outputs = signature(**inputs)
        return predict_pb2.PredictResponse(
            model_spec=self.spec(name),
            outputs={alias: tf.make_tensor_proto(outputs[alias].numpy()) for alias in wanted},
        )


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: _Model) -> None:
        self._model = model

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        with _status(context):
            return self._model.predict(request)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        with _status(context):
            self._model.require(request.model_spec)
            if set(request.metadata_field) != {"signature_def"}:
                raise _invalid('metadata_field must be ["signature_def"]')
            reply = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=self._model.spec())
            reply.metadata["signature_def"].Pack(
                get_model_metadata_pb2.SignatureDefMap(signature_def=self._model.signature_defs)
            )
            return reply


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, model: _Model) -> None:
        self._model = model

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        with _status(context):
            self._model.require(request.model_spec)
            status = get_model_status_pb2.ModelVersionStatus(
                version=self._model.version, state="AVAILABLE", status={}
            )
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])


@contextmanager
def _status(context: grpc.ServicerContext) -> Iterator[None]:
    """Answer a TensorFlow error with the gRPC status of the same number."""
    try:
        yield
    except tf.errors.OpError as error:
        # Python sets where in the graph it happened before the cause, which is all that TF Serving gives.
        cause = error.message.rpartition("<stack traces unavailable>\n")[2]
        context.abort(_STATUS_CODES[error.error_code], cause[:_STATUS_CHARACTERS])


def _invalid(text: str) -> tf.errors.InvalidArgumentError:
    return tf.errors.InvalidArgumentError(None, None, text)


def _inputs(
    protos: Mapping[str, tensor_pb2.TensorProto], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """Return the tensors of a request; raises InvalidArgumentError unless the signature takes them."""
    if set(protos) != set(specs):
        raise _invalid(
            "inputs do not match the signature. "
            f"Sent extra: {{{','.join(sorted(set(protos) - set(specs)))}}}. "
            f"Missing but required: {{{','.join(sorted(set(specs) - set(protos)))}}}."
        )
    tensors = {}
    for name, spec in specs.items():
        if protos[name].dtype != spec.dtype.as_datatype_enum:
            raise _invalid(f"input {name!r} must be {spec.dtype.name}")
        tensors[name] = tf.io.parse_tensor(protos[name].SerializeToString(), spec.dtype)
        if not spec.shape.is_compatible_with(tensors[name].shape):
            raise _invalid(f"input {name!r} must have the shape {spec.shape}, not {tensors[name].shape}")
    return tensors


def _newest_version(base_path: Path) -> Path:
    if not base_path.is_dir():
        raise UserError(f"{base_path} is not a folder: give the one that the pipeline pushes models to")
    newest = newest_version(base_path)
    if newest is None:
        raise UserError(f"{base_path} holds no model yet: run the pipeline until it pushes one there")
    return newest
