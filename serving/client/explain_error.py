"""Says what a user can do about a gRPC error."""

from __future__ import annotations

from typing import Any

import grpc

from pipeline.errors import UserError


def explain_error(error: Any, *, target: str, model: str, timeout: float) -> UserError | None:
    """The error to raise instead; None for one that is not the user's to mend.

    Args:
        error: a grpc.RpcError with a status.
        target: that was asked.
        model: that it was asked for.
        timeout: seconds it was given.
    """
    details = first_line(error)
    code = grpc.StatusCode.NOT_FOUND if "servable" in details.lower() else error.code()
    lacking = (
        f"{target} cannot answer this about the model {model!r}: ask another version. It said: {details}"
    )
    texts = {
        grpc.StatusCode.UNAVAILABLE: (
            f"no model server answers at {target}: start one there, or give another host:port, or the TLS it "
            f"wants ({details})"
        ),
        grpc.StatusCode.NOT_FOUND: (
            f"{target} does not serve the model {model!r} ({details}): give the name, version or label it is "
            "served under"
        ),
        grpc.StatusCode.INVALID_ARGUMENT: lacking,
        grpc.StatusCode.FAILED_PRECONDITION: lacking,  # how TF Serving says that there is no such signature
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            f"{target} gave no answer within {timeout:g} seconds: give it more time"
        ),
        grpc.StatusCode.UNAUTHENTICATED: f"{target} wants another token ({details}): give the one it knows",
        grpc.StatusCode.PERMISSION_DENIED: f"{target} refuses this token ({details}): give another",
        grpc.StatusCode.RESOURCE_EXHAUSTED: f"{target} has too much to do ({details}): ask it again later",
    }
    return UserError(texts[code]) if code in texts else None


def refuses_images(error: Any) -> bool:
    """Whether it is about the images of a request, so that fewer of them may be answered."""
    details = first_line(error).lower()
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return "message larger than max" in details
    about_model = "servable" in details or "signature" in details
    return error.code() == grpc.StatusCode.INVALID_ARGUMENT and not about_model


def first_line(error: Any) -> str:
    """What the server said; TensorFlow's further lines name nodes of the graph."""
    return (error.details() or "").partition("\n")[0]
