"""A SavedModel in memory: its signatures, warm-up and inference."""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from knet.base import artifact_files
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.tensors import array_of

Arrays = dict[str, NDArray[Any]]  # by alias


class LoadedVersion:
    """A SavedModel in a TensorFlow session, as TF Serving holds it; freed with the last reference."""

    def __init__(self, folder: Path) -> None:
        """Load a version.

        Args:
            folder: version folder, named by its number.

        Raises:
            tf.errors.OpError: the folder is not a SavedModel, or cannot be loaded. Damaged files can raise
                other exceptions too.
        """
        self.folder = folder
        self.number = int(folder.name)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        weakref.finalize(self, self._session.close)
        with graph.as_default(), _without_warnings():
            loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(folder))
        self.signature_defs = dict(loaded.signature_def)
        self._signatures: dict[str, Signature] = {}
        self._callables: dict[str, Any] = {}
        self._making = threading.Lock()
        for name, definition in self.signature_defs.items():
            if not definition.method_name:  # the signature that initialises a model
                continue
            self._signatures[name] = Signature(
                name, dict(definition.inputs), tuple(sorted(definition.outputs)), definition.method_name
            )

    def optimize(self) -> None:
        """Have TensorFlow optimize the graph of every signature, instead of at its first run.

        Raises:
            tf.errors.OpError: a signature names a tensor that the graph lacks.
        """
        for name in self._signatures:
            self._callable(name)

    def _callable(self, name: str) -> Any:
        """Return the function of a signature, whose graph is optimized once: seconds for a deep network."""
        with self._making:
            if name not in self._callables:
                definition = self.signature_defs[name]
                # Private, but the public `make_callable` takes twice as long, and hides errors in
                # a traceback.
                self._callables[name] = self._session._make_callable_from_options(
                    config_pb2.CallableOptions(
                        feed=[definition.inputs[alias].name for alias in sorted(definition.inputs)],
                        fetch=[definition.outputs[alias].name for alias in sorted(definition.outputs)],
                    )
                )
            return self._callables[name]

    def signature(self, name: str) -> Signature | None:
        """The signature of that name, or None."""
        return self._signatures.get(name)

    def run(self, signature: Signature, arrays: Arrays) -> Arrays:
        """Run a signature; blocks.

        Args:
            signature: a signature of this version.
            arrays: inputs that the signature has checked, by alias.

        Returns:
            The outputs, by alias.

        Raises:
            StatusError: the graph raised an error, for example because an image cannot be decoded.
        """
        feeds = [arrays[alias] for alias in sorted(arrays)]
        try:
            values = self._callable(signature.name)(*feeds)
        except tf.errors.OpError as error:
            raise StatusError.from_number(error.error_code, _root_cause(error.message)) from None
        except UnicodeDecodeError as error:
            # TensorFlow 2.21 fails to decode its own message if that quotes bytes of the input.
            raise invalid_argument(_root_cause(error.object.decode(errors="backslashreplace"))) from None
        return dict(zip(signature.outputs, map(np.asarray, values), strict=True))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress TensorFlow's advice to use its newer loader, which cannot free a model."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _root_cause(message: str) -> str:
    """The first error of a TensorFlow message, without the graph nodes in the lines that follow."""
    first, _, rest = message.partition("\n")
    several = re.match(r"\d+ root error\(s\) found", first)  # of operations that ran in parallel
    return re.sub(r"^\s*\(0\) \w+: ", "", rest.partition("\n")[0]) if several else first


@dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel."""

    name: str
    inputs: Mapping[str, Any]  # TensorInfo by alias
    outputs: tuple[str, ...]  # aliases
    method: str  # such as `tensorflow/serving/classify`

    def check(self, arrays: Arrays) -> None:
        """Check the aliases, types and shapes of inputs.

        Raises:
            StatusError: they are not those of the signature.
        """
        sent, expected = sorted(arrays), sorted(self.inputs)
        if sent != expected:
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!={len(expected)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(expected)}}}). "
                f"Sent extra: {{{','.join(set(sent) - set(expected))}}}. "
                f"Missing but required: {{{','.join(set(expected) - set(sent))}}}."
            )
        for alias, array in arrays.items():
            dtype = tf.dtypes.as_dtype(self.inputs[alias].dtype)
            if tf.dtypes.as_dtype(array.dtype) != dtype:
                raise invalid_argument(
                    f"input {alias!r} must be {dtype.name}, not {tf.dtypes.as_dtype(array.dtype).name}"
                )
            shape = tf.TensorShape(self.inputs[alias].tensor_shape)
            if not shape.is_compatible_with(array.shape):
                raise invalid_argument(f"input {alias!r} must have the shape {shape}, not {array.shape}")

    @property
    def has_batch_dimension(self) -> bool:
        """Whether the first dimension of every input is of unknown size."""
        shapes = [info.tensor_shape for info in self.inputs.values()]
        return all(not s.unknown_rank and len(s.dim) and s.dim[0].size == -1 for s in shapes)


def predict_signature(version: LoadedVersion, spec: Any) -> Signature:
    """The signature that a predict request names in its ModelSpec, by default `serving_default`.

    Raises:
        StatusError: the version has no such signature.
    """
    name = spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    signature = version.signature(name)
    if signature is None:
        raise StatusError(StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return signature


def requested_outputs(signature: Signature, output_filter: Iterable[str]) -> tuple[str, ...]:
    """The output aliases that a request asks for; all if it names none.

    Raises:
        StatusError: an alias is unknown or named twice.
    """
    wanted = tuple(output_filter)
    for number, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{','.join(signature.outputs)}}}."
            )
        if alias in wanted[:number]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs


def run_warm_up_requests(version: LoadedVersion) -> int:
    """Run the warm-up requests of a version.

    Returns:
        The number of requests.

    Raises:
        StatusError: a request fails; TF Serving does not load such a model either.
    """
    file = version.folder / artifact_files.WARM_UP_REQUESTS
    if not file.is_file():
        return 0
    records = list(tf.data.TFRecordDataset([str(file)]).as_numpy_iterator())
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = predict_signature(version, request.model_spec)
        arrays = {name: array_of(name, proto) for name, proto in request.inputs.items()}
        signature.check(arrays)
        version.run(signature, arrays)
    return len(records)
