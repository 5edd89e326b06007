"""The page as the development server itself serves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Browser

from knet.serving.dev_server.server import DevServer

pytestmark = pytest.mark.browser


def test_an_image_is_answered_by_the_served_model(
    server: DevServer, chromium: Browser, png: Callable[[int], bytes], tmp_path: Path
) -> None:
    image = tmp_path / "SOB_M_DC-14-2523-200-001.png"
    image.write_bytes(png(204))
    chromium.open(f"http://{server.rest_address}/", width=1280)
    chromium.wait("document.getElementById('served').textContent.startsWith('Version 7')")
    chromium.choose("#files", [image])
    chromium.wait("document.getElementById('progress').textContent.startsWith('1 of 1')")
    said = chromium.run("document.getElementById('cards').innerText")
    assert "malignant" in said and "benign 0.200 · malignant 0.800" in said and "Not referred" in said
    assert chromium.run("document.getElementById('patient-rows').innerText").startswith("14-2523")
    assert chromium.complaints == []
