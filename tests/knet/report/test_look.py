"""The report page in a browser: narrow, wide, dark and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser

from knet.report.report import write_report
from knet.runs.record import RunRecord

pytestmark = pytest.mark.browser
PHONE, DESK = 390, 1280


@pytest.fixture(scope="module")
def browser(debian_program: Callable[..., Path]) -> Iterator[Browser]:
    with Browser(debian_program("chromium", package="chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(full_record: RunRecord, full_folder: Path) -> Path:
    return write_report(full_record, full_folder)


@pytest.mark.parametrize(
    ("width", "dark"), [(PHONE, False), (DESK, False), (DESK, True)], ids=["phone", "desk", "dark"]
)
def test_page_shows_every_image_and_loads_nothing(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(f"file://{page}", width=width, dark=dark)
    browser.run("[...document.images].forEach(image => { image.loading = 'eager' })")
    browser.wait("[...document.images].every(image => image.complete)")
    shown = browser.run("[...document.images].filter(image => image.naturalWidth).length")
    assert shown == page.read_text("utf-8").count("<img ") > 20
    assert (browser.complaints, browser.faint) == ([], [])
    assert [url for url in browser.requested if not url.startswith("data:")] == [f"file://{page}"]
    assert browser.needed_width <= width
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
def test_page_has_no_serious_barriers(browser: Browser, page: Path, axe: str, width: int, dark: bool) -> None:
    browser.open(f"file://{page}", width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert browser.barriers(axe) == []


@pytest.mark.parametrize("table", ["Selection of the winner", "From the data to the served version"])
def test_tables_of_words_fit_a_phone(browser: Browser, page: Path, table: str) -> None:
    browser.open(f"file://{page}", width=PHONE)
    region = f"document.querySelector('[aria-label=\"{table}\"]')"
    assert browser.run(f"{region}.scrollWidth <= {region}.clientWidth")


def test_plots_of_the_search_fit_a_phone(browser: Browser, page: Path) -> None:
    browser.open(f"file://{page}", width=PHONE)
    widths = browser.run("[...document.querySelectorAll('.plots svg')].map(one => one.clientWidth)")
    assert widths and all(PHONE / 2 < width <= PHONE for width in widths)


def test_page_of_failed_run_fits_a_phone(browser: Browser, failed_record: RunRecord, tmp_path: Path) -> None:
    failed = write_report(failed_record, tmp_path / "run")
    browser.open(f"file://{failed}", width=PHONE)
    assert (browser.complaints, browser.faint) == ([], [])
    assert browser.requested == [f"file://{failed}"]
    assert browser.needed_width <= PHONE


def test_page_can_be_printed(browser: Browser, page: Path) -> None:
    browser.open(f"file://{page}", width=DESK)
    assert browser.pdf().startswith(b"%PDF")
