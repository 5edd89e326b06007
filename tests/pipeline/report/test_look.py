"""The page in a real browser: on a phone, on a desk, in the dark and on paper."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.write_report import write_report
from pipeline.run_record import RunRecord

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
    ),
]
PHONE, DESK = 390, 1280

# Loads the page in a frame as wide as a screen, and says what it finds there.
_FRAME = """<!doctype html><body style="margin:0"><pre id="seen"></pre>
<iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe");
const probe = document.createElement("canvas").getContext("2d", {{ willReadFrequently: true }});
function rgba(colour) {{  // however CSS writes it
  probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
}}
function over(top, below) {{ return [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * below[i]); }}
function luminance(colour) {{
  const [r, g, b] = colour.slice(0, 3).map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
}}
function background(element, view) {{
  if (!element) return [255, 255, 255];
  return over(rgba(view.getComputedStyle(element).backgroundColor), background(element.parentElement, view));
}}
frame.onload = () => {{
  const page = frame.contentDocument, view = frame.contentWindow, faint = [];
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {{
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length) continue;
    const style = view.getComputedStyle(element), below = background(element, view);
    const ink = over(rgba(element instanceof view.SVGElement ? style.fill : style.color), below);
    const [light, dark] = [luminance(ink), luminance(below)].sort((a, b) => b - a);
    const contrast = (light + .05) / (dark + .05);
    if (contrast < 4.5) faint.push(`${{text.slice(0, 40)}}: ${{contrast.toFixed(2)}}`);
  }}
  document.getElementById("seen").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    loaded: view.performance.getEntriesByType("resource").map(entry => entry.name),
    pictures: [...page.images].filter(image => image.complete && image.naturalWidth).length,
    background: view.getComputedStyle(page.body).backgroundColor,
    faint,
  }});
}};
</script>"""


@dataclass(frozen=True)
class Seen:
    """What there was to see."""

    width: int  # pixels that the page needs
    loaded: list[str]  # addresses that were asked for
    pictures: int  # that are shown
    background: str
    faint: list[str]  # texts with a contrast below 4.5
    console: list[str]  # what the browser complained of


def look(page: Path, *, width: int, dark: bool = False, workplace: Path) -> Seen:
    """Opens a page.

    Args:
        page: a file without frames and scripts.
        width: of the screen, pixels.
        dark: whether its user likes it dark.
        workplace: an empty folder.
    """
    frame = workplace / "frame.html"
    html = page.read_text("utf-8").replace(' loading="lazy"', "")  # the frame is less high than the page
    frame.write_text(_FRAME.format(width=width, page=escape(html)), encoding="utf-8")
    done = _chromium(
        workplace, "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", f"file://{frame}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.S)
    assert found, done.stderr
    seen: dict[str, Any] = json.loads(unescape(found[1]))
    return Seen(console=[line for line in done.stderr.splitlines() if "CONSOLE" in line], **seen)


def print_page(page: Path, *, workplace: Path) -> bytes:
    """The page as a printer gets it, a PDF."""
    pdf = workplace / "page.pdf"
    _chromium(workplace, f"--print-to-pdf={pdf}", "--no-pdf-header-footer", f"file://{page}")
    return pdf.read_bytes()


def _chromium(workplace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM
    quiet = [f"--disable-{what}" for what in ("gpu", "background-networking", "component-update", "sync")]
    profile = f"--user-data-dir={workplace / 'profile'}"
    alone = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--no-first-run", alone, profile, *quiet, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.fixture(scope="module")
def page(full_record: RunRecord, full_folder: Path) -> Path:
    return write_report(full_record, full_folder)


@pytest.fixture(
    scope="module", params=[(PHONE, False), (DESK, False), (DESK, True)], ids=["phone", "desk", "dark"]
)
def seen(
    request: pytest.FixtureRequest, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, bool, Seen]:
    width, dark = request.param
    return width, dark, look(page, width=width, dark=dark, workplace=tmp_path_factory.mktemp("browser"))


def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(seen: tuple[int, bool, Seen]) -> None:
    assert (seen[2].console, seen[2].loaded) == ([], [])


def test_the_page_is_no_wider_than_the_screen(seen: tuple[int, bool, Seen]) -> None:
    assert seen[2].width <= seen[0]


def test_every_text_stands_out_from_what_is_behind_it(seen: tuple[int, bool, Seen]) -> None:
    assert seen[2].faint == []


def test_the_page_is_dark_for_those_who_like_it(seen: tuple[int, bool, Seen]) -> None:
    assert (seen[2].background == "rgb(255, 255, 255)") is not seen[1]


def test_every_picture_is_shown(seen: tuple[int, bool, Seen], page: Path) -> None:
    assert seen[2].pictures == page.read_text("utf-8").count("<img ") > 20


def test_a_failed_run_looks_right_on_a_phone(failed_record: RunRecord, tmp_path: Path) -> None:
    found = look(write_report(failed_record, tmp_path / "run"), width=PHONE, workplace=tmp_path)
    assert (found.console, found.loaded, found.faint) == ([], [], [])
    assert found.width <= PHONE


def test_the_page_can_be_printed(page: Path, tmp_path: Path) -> None:
    assert print_page(page, workplace=tmp_path).startswith(b"%PDF")
