"""Tests of HTTP clients that are slow, idle or malformed, send too much, or leave."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knet.serving.dev_server.server import DevServer, Options

_LIMIT = 2**20  # bytes of a gRPC message; JSON may have a third more
_SECONDS = 1.0
_HEAD = b"POST /v1/models/knet:predict HTTP/1.1\r\nHost: a\r\n"
_BODY = json.dumps({"signature_name": "double", "inputs": [1, 2]}).encode()


@pytest.fixture(scope="module")
def impatient(base_path: Path) -> Iterator[DevServer]:
    """A server with short time limits and a small size limit."""
    options = Options(rest_seconds=_SECONDS, max_message_bytes=_LIMIT)
    with DevServer(base_path, port=0, rest_port=0, options=options) as server:
        yield server


def address_of(server: DevServer) -> tuple[str, int]:
    host, _, port = (server.rest_address or "").rpartition(":")
    return host, int(port)


@pytest.fixture
def connection(impatient: DevServer) -> Iterator[socket.socket]:
    with socket.create_connection(address_of(impatient), timeout=30) as connected:
        yield connected


def status(connection: socket.socket) -> int:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status


def seconds_until_closed(connection: socket.socket) -> float:
    started = time.monotonic()
    assert connection.recv(1) == b""
    return time.monotonic() - started


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/mod", _HEAD], ids=["nothing", "a line's start", "a head's start"]
)
def test_connection_without_a_request_is_closed(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert _SECONDS / 2 < seconds_until_closed(connection) < 20


def test_idle_connection_is_closed_after_a_reply(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY)
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    assert json.loads(reply.read()) == {"outputs": [2.0, 4.0]}
    assert _SECONDS / 2 < seconds_until_closed(connection) < 20


def test_slow_body_is_refused(connection: socket.socket) -> None:
    started = time.monotonic()
    connection.sendall(_HEAD + b"Content-Length: 1000\r\n\r\n{")
    assert status(connection) == 408
    assert _SECONDS / 2 < time.monotonic() - started < 20


@pytest.mark.parametrize("header", [b"", b"Expect: 100-continue\r\n"], ids=["at once", "after a question"])
def test_large_content_length_is_refused_before_the_body(connection: socket.socket, header: bytes) -> None:
    connection.sendall(_HEAD + header + b"Content-Length: 100000000\r\n\r\n")
    assert status(connection) == 413  # not 408, the answer to a body that is slow


def test_large_chunked_body_is_refused(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (2 * _LIMIT, b" " * 2 * _LIMIT)
    connection.sendall(chunk)
    assert status(connection) == 413


def test_expectation_is_answered(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(_BODY))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(_BODY)
    assert status(connection) == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    ],
    ids=["TLS", "chunk", "gzip"],
)
def test_malformed_request_is_refused_without_a_traceback(
    connection: socket.socket, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    connection.sendall(sent)
    assert status(connection) == 400
    assert not caplog.records


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        _HEAD,
        _HEAD + b"Content-Length: 1000\r\n\r\n{",
        _HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY,
    ],
    ids=["in the head", "in the body", "before the reply"],
)
def test_client_that_leaves_causes_no_traceback(
    impatient: DevServer,
    connection: socket.socket,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    reset: bool,
) -> None:
    caplog.set_level(logging.INFO)
    connection.sendall(sent)
    time.sleep(0.1)  # until the server reads
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    with socket.create_connection(address_of(impatient), timeout=30) as other:
        other.sendall(b"GET /v1/models/knet HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(other) == 200  # the server has handled the first connection by now
    assert not caplog.records
