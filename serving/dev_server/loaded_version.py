"""One version of a model in memory."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2

from serving.dev_server.refusal import Refusal, invalid

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Signature:
    """A way to ask a model."""

    name: str
    inputs: Mapping[str, Any]  # TensorInfos by alias
    outputs: tuple[str, ...]  # aliases
    method: str  # as `tensorflow/serving/classify`

    def check(self, arrays: Arrays) -> None:
        """Refuses inputs that are not those of the signature, by name, type or shape."""
        sent, wanted = sorted(arrays), sorted(self.inputs)
        if sent != wanted:
            raise invalid(
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(wanted)}}}). "
                f"Sent extra: {{{','.join(set(sent) - set(wanted))}}}. "
                f"Missing but required: {{{','.join(set(wanted) - set(sent))}}}."
            )
        for alias, array in arrays.items():
            dtype = tf.dtypes.as_dtype(self.inputs[alias].dtype)
            if tf.dtypes.as_dtype(array.dtype) != dtype:
                raise invalid(
                    f"input {alias!r} must be {dtype.name}, not {tf.dtypes.as_dtype(array.dtype).name}"
                )
            shape = tf.TensorShape(self.inputs[alias].tensor_shape)
            if not shape.is_compatible_with(array.shape):
                raise invalid(f"input {alias!r} must have the shape {shape}, not {array.shape}")

    @property
    def batches(self) -> bool:
        """Whether the first dimension of every input is the batch's."""
        shapes = [info.tensor_shape for info in self.inputs.values()]
        return all(not s.unknown_rank and len(s.dim) and s.dim[0].size == -1 for s in shapes)


class LoadedVersion:
    """A SavedModel in a session of its own, as TF Serving holds it; freed with the last who uses it."""

    def __init__(self, folder: Path) -> None:
        """Loads a version.

        Raises:
            tf.errors.OpError, or what else TensorFlow raises: it is no SavedModel, or cannot be loaded.
        """
        self.folder = folder
        self.number = int(folder.name)
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        weakref.finalize(self, session.close)
        with graph.as_default(), _quiet():
            loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        self.signature_defs = dict(loaded.signature_def)
        self._signatures: dict[str, Signature] = {}
        self._run: dict[str, Any] = {}
        for name, definition in self.signature_defs.items():
            if not definition.method_name:  # of the signature that initialises a model
                continue
            signature = Signature(
                name, dict(definition.inputs), tuple(sorted(definition.outputs)), definition.method_name
            )
            self._signatures[name] = signature
            # Private, but the public `make_callable` takes twice as long, and hides errors in a traceback.
            self._run[name] = session._make_callable_from_options(
                config_pb2.CallableOptions(
                    feed=[definition.inputs[alias].name for alias in sorted(definition.inputs)],
                    fetch=[definition.outputs[alias].name for alias in signature.outputs],
                )
            )

    def signature(self, name: str) -> Signature | None:
        """The signature of a name, or None."""
        return self._signatures.get(name)

    def run(self, signature: Signature, arrays: Arrays) -> Arrays:
        """Asks the model; blocks.

        Args:
            signature: of this version.
            arrays: its inputs, which it has checked.

        Raises:
            Refusal: the graph raised an error, such as of an image that cannot be decoded.
        """
        feeds = [arrays[alias] for alias in sorted(arrays)]
        try:
            values = self._run[signature.name](*feeds)
        except tf.errors.OpError as error:
            raise Refusal.numbered(error.error_code, _cause(error.message)) from None
        except UnicodeDecodeError as error:
            # TensorFlow 2.21 stumbles over its own message where that quotes bytes of the input.
            raise invalid(_cause(error.object.decode(errors="backslashreplace"))) from None
        return dict(zip(signature.outputs, map(np.asarray, values), strict=True))


def _cause(message: str) -> str:
    """What went wrong, without the graph's nodes that TensorFlow names in the lines that follow."""
    first, _, rest = message.partition("\n")
    several = re.match(r"\d+ root error\(s\) found", first)  # of operations that ran at the same time
    return re.sub(r"^\s*\(0\) \w+: ", "", rest.partition("\n")[0]) if several else first


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow from warning that its newer loader, which cannot free a model, is to be preferred."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def requested_outputs(signature: Signature, output_filter: Iterable[str]) -> tuple[str, ...]:
    """The outputs that a request asks for, all where it names none.

    Raises:
        Refusal: it names one twice, or one that there is not.
    """
    wanted = tuple(output_filter)
    for number, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{','.join(signature.outputs)}}}."
            )
        if alias in wanted[:number]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs
