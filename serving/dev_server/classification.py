"""TF Serving's Classify: from tf.Examples to classes with scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import classification_pb2

from serving.dev_server.loaded_version import Arrays, LoadedVersion, Signature
from serving.dev_server.refusal import invalid

_METHOD = tf.saved_model.CLASSIFY_METHOD_NAME
_CLASSES, _SCORES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES, tf.saved_model.CLASSIFY_OUTPUT_SCORES


def classification_signature(version: LoadedVersion, name: str) -> Signature:
    """The signature that a classification request asks.

    Raises:
        Refusal: there is none of that name, or it is none for Classify.
    """
    name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    signature = version.signature(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    if signature.method != _METHOD:
        raise invalid(
            f"Expected classification signature method_name to be {_METHOD}. Was: {signature.method}"
        )
    if set(signature.inputs) != {tf.saved_model.CLASSIFY_INPUTS} or set(signature.outputs) != {
        _CLASSES,
        _SCORES,
    }:
        raise invalid(f"Signature {name} does not take inputs and give classes and scores")
    return signature


def examples_of(sent: Any) -> NDArray[Any]:
    """The serialised examples of an Input.

    Raises:
        Refusal: there are none.
    """
    match sent.WhichOneof("kind"):
        case "example_list":
            examples = [example.SerializeToString() for example in sent.example_list.examples]
        case "example_list_with_context":
            # Two messages one after the other read as their union.
            context = sent.example_list_with_context.context.SerializeToString()
            examples = [
                context + example.SerializeToString() for example in sent.example_list_with_context.examples
            ]
        case _:
            examples = []
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


def classifications(outputs: Arrays) -> classification_pb2.ClassificationResult:
    """The classes and scores of each example."""
    result = classification_pb2.ClassificationResult()
    for names, scores in zip(outputs[_CLASSES].tolist(), outputs[_SCORES].tolist(), strict=True):
        one = result.classifications.add()
        for name, score in zip(names, scores, strict=True):
            one.classes.add(label=name, score=score)
    return result
