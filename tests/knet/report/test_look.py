"""The report and its page on the data in a browser: narrow, wide, dark and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList as Statistics

from knet.data.validation import Anomaly, Distance, ValidationReport
from knet.report.data_page import render_data_page
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


@pytest.fixture(scope="module")
def data_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on images with many features, an anomaly and drift."""
    datasets = Statistics()
    for split in ("train", "test"):
        dataset = datasets.datasets.add(name=split, num_examples=10)
        for number in range(30):
            feature = dataset.features.add(name=f"image/{number}", type="FLOAT")
            feature.num_stats.common_stats.num_non_missing = 10
            feature.num_stats.mean = number
            feature.num_stats.histograms.add().buckets.add(low_value=0, high_value=1, sample_count=10)
    anomaly = Anomaly("test", "magnification", "Unexpected string values", "500X is not in the schema.")
    page = tmp_path_factory.mktemp("data") / "data.html"
    page.write_text(
        render_data_page(
            title="knet-demo, run 1",
            synthetic=True,
            report=ValidationReport((anomaly,), (Distance("image/1", 0.5, 0.2),)),
            statistics={"train": _of(datasets, 0), "test": _of(datasets, 1)},
            link="report.html",
        ),
        "utf-8",
    )
    return page


def _of(sets: Statistics, number: int) -> Statistics:
    return Statistics(datasets=[sets.datasets[number]])


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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
def test_data_page_shows_every_feature_without_serious_barriers(
    browser: Browser, data_page: Path, axe: str, width: int, dark: bool
) -> None:
    browser.open(f"file://{data_page}", width=width, dark=dark)
    lists = """(root => {
      const found = [];
      const walk = root => root.querySelectorAll("*").forEach(element => {
        if (element.localName === "iron-list") found.push(element);
        if (element.shadowRoot) walk(element.shadowRoot);
      });
      walk(root);
      return found;
    })(document)"""
    browser.wait(f"{lists}.length && {lists}.every(list => list.tabIndex === 0)")
    browser.wait(f"{lists}.every(list => list.scrollHeight <= list.clientHeight)")
    assert (browser.complaints, browser.barriers(axe)) == ([], [])
    assert browser.requested == [f"file://{data_page}"]
    assert browser.needed_width <= width
