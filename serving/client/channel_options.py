"""How gRPC connects, retries and bounds messages."""

from __future__ import annotations

import json
from typing import Final

MOST_RETRIES: Final = 4  # gRPC makes five attempts and no more

_MESSAGE_BYTES = 64 * 1024 * 1024
_THIS_MACHINE = ("localhost", "127.0.0.1")


def channel_options(target: str, *, retries: int) -> list[tuple[str, int | str]]:
    """Arguments of a channel.

    Calls that end with UNAVAILABLE, and no others, are made again after 0.1, 0.3, 0.9 and 2.7 seconds, each
    shortened or lengthened by chance, as gRPC does by itself (gRFC A6), within the time limit of the call.

    Args:
        target: "host:port".
        retries: at most so many, 0 to 4.
    """
    return [
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # gRPC would send even calls to this machine through the web proxy that http_proxy names.
        ("grpc.enable_http_proxy", int(not on_this_machine(target))),
        ("grpc.service_config", json.dumps(_retry_policy(retries) if retries else {})),
        ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES),  # what is larger is not retried
        # A server that comes back is found by the next retry, not by one after the usual wait of a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


def on_this_machine(target: str) -> bool:
    """Whether calls stay here."""
    return target.rpartition(":")[0] in _THIS_MACHINE


def _retry_policy(retries: int) -> dict[str, object]:
    return {
        "methodConfig": [
            {
                "name": [{}],  # every method
                "retryPolicy": {
                    "maxAttempts": 1 + retries,
                    "initialBackoff": "0.1s",
                    "backoffMultiplier": 3,
                    "maxBackoff": "5s",
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
