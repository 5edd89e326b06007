"""Fake API server of Kubernetes: keeps objects in memory, and serves them over HTTPS unchecked."""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
_KINDS = {
    "workflows": "Workflow",
    "scheduledworkflows": "ScheduledWorkflow",
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "events": "Event",
}


class FakeKubernetes:
    """Objects by namespace, resource (such as `workflows`) and name."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._events: list[tuple[str, str, Object]] = []
        self._changed = threading.Condition()

    def get(self, namespace: str, resource: str, name: str) -> Object | None:
        """Return an object, or None."""
        return self._objects.get((namespace, resource, name))

    def list(self, namespace: str, resource: str) -> list[Object]:
        """Return the objects of a namespace, or of all for "", oldest first."""
        with self._changed:
            return [
                item
                for (space, kind, _), item in self._objects.items()
                if kind == resource and namespace in ("", space)
            ]

    def put(self, namespace: str, resource: str, item: Object) -> Object:
        """Create or replace an object, whose metadata it completes as the real server does."""
        metadata = item.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = f"{metadata.get('generateName', 'object-')}{uuid.uuid4().hex[:5]}"
        key = (namespace, resource, metadata["name"])
        event = "MODIFIED" if key in self._objects else "ADDED"
        metadata.setdefault("namespace", namespace)
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        item.setdefault("kind", _KINDS.get(resource, resource))
        with self._changed:
            self._objects[key] = item
            self._note(event, namespace, resource, item)
        return item

    def delete(self, namespace: str, resource: str, name: str) -> None:
        """Delete an object."""
        with self._changed:
            item = self._objects.pop((namespace, resource, name))
            self._note("DELETED", namespace, resource, item)

    def _note(self, event: str, namespace: str, resource: str, item: Object) -> None:
        item["metadata"]["resourceVersion"] = str(len(self._events) + 1)
        copy = json.loads(json.dumps(item))
        self._events.append((namespace, resource, {"type": event, "object": copy}))
        self._changed.notify_all()

    @property
    def version(self) -> str:
        """Resource version of the last change."""
        return str(len(self._events))

    def watch(self, namespace: str, resource: str, *, after: int) -> Iterator[Object | None]:
        """Yield the changes after a resource version, as they happen; None if nothing happens for a while."""
        while True:
            with self._changed:
                if len(self._events) == after:
                    self._changed.wait(5)
                new = self._events[after:]
                after = len(self._events)
            yield from (e for space, kind, e in new if kind == resource and namespace in ("", space))
            yield None

    @contextmanager
    def serving(self, *, certificate: Path, key: Path) -> Iterator[int]:
        """Serve on a local port and yield it."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        server.block_on_close = False  # watches end with their clients
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()


def _handler(api: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            path = url.path.strip("/").split("/")
            if path == ["version"]:
                return self._reply(200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0"})
            # /api/v1/..., /apis/<group>/<version>/...
            version, rest = (path[1], path[2:]) if path[0] == "api" else ("/".join(path[1:3]), path[3:])
            namespace, rest = (rest[1], rest[2:]) if rest[:1] == ["namespaces"] else ("", rest)
            resource, name = (rest[0], "".join(rest[1:2])) if rest else ("", "")
            if self.command == "GET" and not name:
                return self._list(namespace, resource, version, parse_qs(url.query))
            if self.command == "POST":
                made = {"apiVersion": version, **json.loads(body)}
                if api.get(namespace, resource, made.get("metadata", {}).get("name", "")):
                    return self._refuse(409, "AlreadyExists")
                return self._reply(201, api.put(namespace, resource, made))
            found = api.get(namespace, resource, name)
            if found is None:
                return self._refuse(404, "NotFound")
            match self.command:
                case "GET":
                    self._reply(200, found)
                case "PUT":
                    self._reply(200, api.put(namespace, resource, json.loads(body)))
                case "PATCH":
                    patched = _patched(found, json.loads(body))
                    self._reply(200, api.put(namespace, resource, patched))
                case "DELETE":
                    api.delete(namespace, resource, name)
                    self._reply(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

        def _list(self, namespace: str, resource: str, version: str, query: Mapping[str, list[str]]) -> None:
            kind = _KINDS.get(resource, resource)
            if query.get("watch") in (["true"], ["1"]):
                after = int(query.get("resourceVersion", ["0"])[0] or 0)
                bookmark = None
                if query.get("sendInitialEvents") == ["true"]:  # all objects, then a bookmark
                    after = 0
                    notes = {"k8s.io/initial-events-end": "true"}
                    metadata = {"resourceVersion": api.version, "annotations": notes}
                    bookmark = {"kind": kind, "apiVersion": version, "metadata": metadata}
                return self._watch(namespace, resource, after, bookmark)
            metadata = {"resourceVersion": api.version}
            items = api.list(namespace, resource)
            self._reply(
                200, {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": items}
            )

        def _watch(self, namespace: str, resource: str, after: int, bookmark: Object | None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for event in api.watch(namespace, resource, after=after):
                    if event is None and bookmark:
                        event, bookmark = {"type": "BOOKMARK", "object": bookmark}, None
                    if event:
                        line = json.dumps(event).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
            except OSError:  # the client is gone
                self.close_connection = True

        def _reply(self, code: int, body: Object) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _refuse(self, code: int, reason: str) -> None:
            message = f"{self.command} {self.path}: {reason}"
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
            self._reply(code, {**status, "reason": reason, "code": code, "message": message})

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _patched(item: Object, patch: Any) -> Object:
    """Return an object after a JSON patch (a list of steps) or a merge patch."""
    patched: Object = json.loads(json.dumps(item))
    if not isinstance(patch, list):
        _merge(patched, patch)
        return patched
    for step in patch:
        *folders, last = (
            key.replace("~1", "/").replace("~0", "~") for key in step["path"].strip("/").split("/")
        )
        place = patched
        for key in folders:
            place = place.setdefault(key, {})
        if step["op"] == "remove":
            place.pop(last, None)
        else:
            place[last] = step["value"]
    return patched


def _merge(item: Object, patch: Object) -> None:
    for name, value in patch.items():
        if value is None:
            item.pop(name, None)
        elif isinstance(value, dict) and isinstance(item.get(name), dict):
            _merge(item[name], value)
        else:
            item[name] = value
