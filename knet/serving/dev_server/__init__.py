"""A development server, not TF Serving: the same gRPC and REST interface, for trials and tests."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knet.serving.dev_server.server import DevServer

__all__ = ["DevServer"]


def __getattr__(name: str) -> Any:
    """Imports the server when it is asked for: with it comes TensorFlow, which an observer does without."""
    if name != "DevServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from knet.serving.dev_server.server import DevServer

    return DevServer
