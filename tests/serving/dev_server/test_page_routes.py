"""What the REST interface serves beside TF Serving's own."""

from __future__ import annotations

import json
import urllib.request

from serving.dev_server import DevServer


def test_the_root_is_the_page_of_the_development_server(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/") as reply:
        assert reply.status == 200 and reply.read()


def test_the_card_is_what_the_newest_version_says_of_itself(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/card") as reply:
        assert json.load(reply) == {"version": 7, "candidate": "tiny"}
