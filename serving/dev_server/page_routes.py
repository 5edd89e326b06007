"""The web page of the development server, which asks the REST interface in the browser."""

from __future__ import annotations

import json
from pathlib import Path

from aiohttp import web
from tensorflow_serving.apis import model_pb2

from pipeline import features
from serving.dev_server.page.render_page import render_page
from serving.dev_server.served_models import ServedModels

_CARD = Path("assets.extra") / "knet.json"


def page_routes(models: ServedModels) -> list[web.AbstractRouteDef]:
    """`/` gives the page, `/card` what the newest version says of itself (JSON)."""
    page = render_page(model=features.MODEL_NAME)

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def card(request: web.Request) -> web.Response:
        version = models.find(model_pb2.ModelSpec(name=features.MODEL_NAME))
        file = version.folder / _CARD
        if not file.is_file():
            raise web.HTTPNotFound(text=f"version {version.number} has no {_CARD}")
        tree = {"version": version.number, **json.loads(file.read_text(encoding="utf-8"))}
        return web.json_response(tree)

    return [web.get("/", index), web.get("/card", card)]
