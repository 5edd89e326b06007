"""How a development server may be told to differ from the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.config.batching import Batching
from serving.config.monitoring import METRICS_PATH
from serving.dev_server.credentials import Tls
from serving.dev_server.observer import Observer


@dataclass(frozen=True)
class Options:
    """Options of a DevServer."""

    # TF Serving's model config, which is read again when it changes; none serves the newest version alone
    models_config: Path | None = None
    batching: Batching | None = None  # none answers each request by itself
    metrics_path: str | None = METRICS_PATH  # of the REST interface; none has no metrics
    poll_seconds: float = 1.0  # between two looks at the versions and the model config
    max_message_bytes: int = 64 * 1024 * 1024
    max_requests: int = 1000  # at once, over gRPC; more are refused as RESOURCE_EXHAUSTED
    tls: Tls | None = None  # none sends in the clear
    token: str | None = None  # that every request must bring
    grace_seconds: float = 5.0  # that running requests get when the server stops
    observers: Sequence[Observer] = ()
