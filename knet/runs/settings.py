"""Settings of experiment tracking."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from knet.base.settings import Section


def server_url(url: str) -> str:
    """Return the URL of a server without a slash at its end.

    Raises:
        ValueError: it is no URL, or could hold a secret; the message does not repeat it then.
    """
    if set(url) & set("@?#"):
        raise ValueError(
            "the URL must hold no user, password or query; remove them, and give credentials in the "
            "environment variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN"
        )
    if not _is_url(url):
        raise ValueError(f"{url!r} is no URL of a server; give one such as http://localhost:5000")
    return url.rstrip("/")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port beyond 65535
        return False


ServerUrl = Annotated[str, AfterValidator(server_url)]


class TrackingConfig(Section):
    """Logging of finished runs to an experiment tracker."""

    mlflow: ServerUrl | None = Field(
        None,
        description="URL of an MLflow server, such as http://localhost:5000, without credentials: those are "
        "in MLflow's own environment variables. null: nothing is logged.",
    )
