"""Buckets of Google Cloud Storage, on a fake server of its JSON interface. Those of S3: `test_storage.py`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from knet.base.storage import ObjectStore, download, upload
from knet.data.folders import ObjectFolder

_PAGE = 2  # objects of one answer to a listing


class FakeStorage(BaseHTTPRequestHandler):
    """One bucket: listing by pages, upload in one request, download and removal."""

    objects: dict[str, bytes]
    requests: list[str]

    def _answer(self, status: int, content: bytes | dict[str, object]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _describe(self, name: str) -> dict[str, object]:
        content = self.objects[name]
        return {
            "name": name,
            "size": str(len(content)),
            "updated": "2024-01-31T12:00:00.000Z",
            "crc32c": f"crc-{content.decode()}",
        }

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path.partition("/o/")[2])

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        name = self._name()
        self.requests.append(f"GET {name or 'list'}")
        if not name:
            matching = sorted(one for one in self.objects if one.startswith(query.get("prefix", [""])[0]))
            start = int(query.get("pageToken", ["0"])[0])
            page: dict[str, object] = {
                "items": [self._describe(one) for one in matching[start : start + _PAGE]]
            }
            if start + _PAGE < len(matching):
                page["nextPageToken"] = str(start + _PAGE)
            self._answer(200, page)
        elif name not in self.objects:
            self._answer(404, {"error": {"code": 404, "message": "none"}})
        elif url.path.startswith("/download"):
            match = re.fullmatch(r"bytes=0-(\d+)", self.headers.get("Range", ""))
            content = self.objects[name]
            if match and not content:
                self._answer(416, b"")
            else:
                self._answer(206 if match else 200, content[: int(match[1]) + 1] if match else content)
        else:
            self._answer(200, self._describe(name))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip("'\"").encode()
        _, described, content, _ = body.split(b"--" + boundary)
        name = json.loads(described.partition(b"\r\n\r\n")[2])["name"]
        self.objects[name] = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        self._answer(200, self._describe(name))

    def do_DELETE(self) -> None:
        found = self.objects.pop(self._name(), None)
        self._answer(204 if found is not None else 404, b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeStorage]]:
    handler = type("Handler", (FakeStorage,), {"objects": {}, "requests": []})
    started = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{started.server_port}")
    monkeypatch.setenv("no_proxy", "*")
    yield handler
    started.shutdown()
    started.server_close()


def test_google_bucket_reads_writes_and_removes(server: type[FakeStorage]) -> None:
    store = ObjectStore("gs://bucket/folder")
    assert store.read("a") is None
    store.write("a", b"content")
    store.write("empty", b"")
    assert server.objects == {"folder/a": b"content", "folder/empty": b""}
    assert (store.read("a"), store.read("a", at_most=3), store.read("empty", at_most=3)) == (
        b"content",
        b"con",
        b"",
    )
    assert store.checksum("a") == "crc-content"
    store.remove("a")
    store.remove("a")
    assert list(server.objects) == ["folder/empty"]


def test_google_bucket_lists_names_sizes_and_times(server: type[FakeStorage]) -> None:
    server.objects |= {"other": b"", "x/": b"", "x/a": b"1", "x/b/c": b"22", "x/d": b"333"}
    store = ObjectStore("gs://bucket/x")
    assert store.names("") == ["a", "b/c", "d"] and store.names("b/") == ["b/c"]
    assert [(stat.size, stat.used) for stat in store.stats("b/").values()] == [(2, 1706702400)]


def test_google_bucket_downloads_and_uploads_folders(server: type[FakeStorage], tmp_path: Path) -> None:
    server.objects |= {"x/a": b"1", "x/b/c": b"22"}
    assert download("gs://bucket/x", tmp_path / "x") and not download("gs://bucket/none", tmp_path / "none")
    assert (tmp_path / "x" / "b" / "c").read_bytes() == b"22"
    upload(tmp_path / "x", "gs://bucket/y")
    assert server.objects["y/a"] == b"1" and server.objects["y/b/c"] == b"22"


def test_google_bucket_is_listed_once_a_prefix(server: type[FakeStorage]) -> None:
    server.objects |= {f"x/{name}": name.encode() for name in "abc"}
    folder = ObjectFolder(Path("gs://bucket/x"))
    assert dict(folder.checksums()) == {name: f"crc-{name}" for name in "abc"}
    with folder.open() as reader:
        assert reader.read("a") == b"a"
    assert server.requests == ["GET list", "GET list", "GET x/a"]
