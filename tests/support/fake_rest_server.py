"""A fake of the development server's REST API and page, without a model."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from knet.serving.dev_server.rest import render_page

THRESHOLD = 0.6


@dataclass
class FakeRest:
    """Replies in TF Serving's form; an image's score is its mean red value, and black images are flagged."""

    info: dict[str, Any] | None  # model card; None: the model has none
    token: str = ""  # required bearer token; empty: none
    threshold: float | None = None  # output of the model; older models have none
    classes: tuple[str, ...] = ("benign", "malignant")
    positive: tuple[str, ...] = ()  # positive group of three classes
    heat: float = 1  # highest value of the heat maps
    broken: bool = False  # whether predict requests fail
    requests: list[dict[str, Any]] = field(default_factory=list)  # bodies of predict requests
    patients: set[str | None] = field(default_factory=set)  # patient headers of predict requests

    def get(self, path: str) -> tuple[int, str, str]:
        """Answer a GET request: status, content type and body."""
        if path == "/":
            return 200, "text/html; charset=utf-8", render_page(model="knet")
        if path == "/v1/models/knet":
            states = {"6": "END", "7": "AVAILABLE"}
            statuses = [{"version": version, "state": state} for version, state in states.items()]
            return 200, "application/json", json.dumps({"model_version_status": statuses})
        if path == "/card" and self.info:
            return 200, "application/json", json.dumps({"version": 7, **self.info})
        return 404, "application/json", json.dumps({"error": "Malformed request"})

    def post(self, path: str, body: bytes) -> tuple[int, str, str]:
        """Answer a predict request: status, content type and body."""
        assert path == "/v1/models/knet:predict"
        if self.broken:
            return 503, "application/json", json.dumps({"error": "the queue is full"})
        request = json.loads(body)
        self.requests.append(request)
        (instance,) = request["instances"]
        try:
            pixels = np.asarray(Image.open(BytesIO(base64.b64decode(instance["b64"]))).convert("RGB"))
        except OSError:
            return 400, "application/json", json.dumps({"error": "Unknown image file format.\nmore"})
        score = float(pixels[..., 0].mean()) / 255
        probabilities = self._probabilities(score)
        label = self.classes[int(score >= THRESHOLD)]
        if len(self.classes) > 2:
            score = max(probabilities)
            label = self.classes[probabilities.index(score)]
        if request["signature_name"] == "explain":
            heat = self.heat * np.add.outer(np.linspace(0, 1, 4), np.linspace(0, 1, 6)) / 2
            outputs = {"heat_map": heat.tolist(), "label": label, "score": score}
        else:
            outputs = {
                **({} if self.threshold is None else {"threshold": self.threshold}),
                **({"positive_score": sum(self._of_group(probabilities))} if self.positive else {}),
                "probabilities": probabilities, "classes": self.classes, "label": label, "score": score,
                "distance": 3.0, "in_distribution": bool(pixels.any()),
                "reasons": ["" if pixels.any() else "little tissue", *5 * [""]],
            }  # fmt: skip
        return 200, "application/json", json.dumps({"predictions": [outputs]})

    def _probabilities(self, red: float) -> list[float]:
        """Return the probabilities of two classes, or of three: the last two share that of red."""
        return [1 - red, red] if len(self.classes) == 2 else [1 - red, 0.8 * red, 0.2 * red]

    def _of_group(self, probabilities: list[float]) -> list[float]:
        return [p for name, p in zip(self.classes, probabilities, strict=True) if name in self.positive]


@contextmanager
def served(rest: FakeRest) -> Iterator[str]:
    """Serve a fake on a free port; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*rest.get(self.path))

        def do_POST(self) -> None:
            rest.patients.add(self.headers["X-Patient"])
            self.reply(*rest.post(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, status: int, kind: str, text: str) -> None:
            if self.path != "/" and rest.token and self.headers["Authorization"] != f"Bearer {rest.token}":
                status, text = 401, json.dumps({"error": "a token is required"})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
