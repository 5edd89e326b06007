"""Test of the web page with the development server itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Browser

from knet.serving.dev_server.server import DevServer

pytestmark = pytest.mark.browser


def test_page_shows_the_prediction_of_the_served_model(
    server: DevServer, chromium: Browser, png: Callable[[int], bytes], tmp_path: Path
) -> None:
    image = tmp_path / "SOB_M_DC-14-2523-200-001.png"
    image.write_bytes(png(204))
    chromium.open(f"http://{server.rest_address}/", width=1280)
    chromium.wait("document.getElementById('served').dataset.version === '7'")
    chromium.choose("#files", [image])
    chromium.wait("document.getElementById('progress').dataset.done === '1'")
    text = chromium.run("document.getElementById('cards').innerText")
    assert "malignant" in text and "benign 0.200 · malignant 0.800" in text
    assert chromium.run("document.querySelector('#cards .referral').dataset.referral") == "none"
    assert chromium.run("document.getElementById('patient-rows').innerText").startswith("14-2523")
    assert chromium.complaints == []
