"""A development server with TF Serving's gRPC and REST interface, for trials and tests."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knet.serving.dev_server.server import DevServer

__all__ = ["DevServer"]


def __getattr__(name: str) -> Any:
    """Import the server on first use: it needs TensorFlow, which an observer does not."""
    if name != "DevServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from knet.serving.dev_server.server import DevServer

    return DevServer
