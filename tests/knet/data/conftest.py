"""A fake file server with ranges, and archives to download from it."""

from __future__ import annotations

import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from validation_fixtures import schema, statistics_of, write_splits

NAMES = frozenset(
    f"benign/SOB/adenosis/SOB_B_A_14-1/40X/SOB_B_A-14-1-40-00{number}.png" for number in range(1, 4)
)


@dataclass
class FakeFileServer:
    """A fake server of `content` at `url`, which records the requests."""

    content: bytes
    ranges: bool = True  # whether it supports them
    etag: str | None = '"1"'
    breaks_after: int | None = None  # bytes sent before it closes the connection
    kind: str = "application/gzip"
    status: int = 200
    requests: list[dict[str, str]] = field(default_factory=list)  # headers of each request
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = dict(request.headers)
        self.requests.append(headers)
        match = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", "")) if self.ranges else None
        changed = headers.get("If-Range", self.etag) != self.etag
        start = int(match[1]) if match and not changed else 0
        size = len(self.content)
        if start >= size:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{size}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else self.status)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        request.send_header("Content-Length", str(size - start))
        request.send_header("Content-Type", self.kind)
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        end = size if self.breaks_after is None else start + self.breaks_after
        request.wfile.write(self.content[start:end])


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends requests to this machine directly."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeFileServer]]:
    """Starts a fake server on this machine."""
    servers = []

    def start(content: bytes, **settings: object) -> FakeFileServer:
        serving = FakeFileServer(content, **settings)  # type: ignore[arg-type]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                serving.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        serving.url = f"http://127.0.0.1:{server.server_port}/BreaKHis_v1.tar.gz"
        return serving

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def packed() -> Callable[..., bytes]:
    """Makes the bytes of a .tar.gz with the named files below `BreaKHis_v1/histology_slides/breast`."""

    def make(names: Sequence[str] = tuple(sorted(NAMES)), *, content: bytes = b"image") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(f"BreaKHis_v1/histology_slides/breast/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    return make
