"""The report page of every kind of run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.evaluation.report import write_report
from pipeline.run_record import RunRecord

MakeRecord = Callable[..., RunRecord]
VOID = {"meta", "link", "br", "hr", "img", "input"}  # elements without an end
OUTCOMES: dict[str, dict[str, object]] = {
    "pushed": {},
    "refused": {"refusals": ("recall is 0.1", "f1 is 0.2"), "pushed_version": None, "pushed_folder": None},
    "failed": {
        "error": "DataGate: the data do not match <schema> & more",
        "winner": None,
        "candidates": {},
        "pushed_version": None,
        "pushed_folder": None,
    },
}


class Page(HTMLParser):
    """A page's elements and words; every element must end, in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def page_of(make_record: MakeRecord, tmp_path: Path) -> Callable[..., Page]:
    """Makes the page of a run with some fields changed."""
    return lambda **changes: Page(write_report(make_record(**changes), tmp_path).read_text("utf-8"))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_run_has_a_page_that_says_which_it_was(page_of: Callable[..., Page], outcome: str) -> None:
    page = page_of(**OUTCOMES[outcome])
    assert page.elements.count("html") == page.elements.count("body") == 1
    assert "Run 20240131-120000, started 2024-01-31T12:00:00+00:00" in page.text


def test_the_split_is_told_with_its_notes(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "The split's SHA-256 is fedcba9876543210." in text
    assert "subtype adenosis: 2 patients, too few for three splits; none in test" in text


def test_a_pushed_winner_is_named(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "Winner: mobilenet , by accuracy on validation patients. Pushed as version 1706702400." in text
    for word in ("Refused", "failed", "Synthetic", "left out"):
        assert word not in text


def test_it_says_why_the_winner_was_chosen_and_what_the_gate_found(page_of: Callable[..., Page]) -> None:
    text = page_of(choice="selection.pin", gate_notes=("there is no model to compare with",)).text
    assert "Winner: mobilenet , selection.pin. Pushed" in text
    assert "The gate: there is no model to compare with." in text


def test_all_candidates_are_shown(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "mobilenet imagenet 40 1,234,567 0.875 0.500 0.625 0.75 (0.25-0.95) 0.500 0.750 61 winner" in text
    assert "vgg16 imagenet 40 1,234,567 0.500" in text


def test_a_refusal_gives_every_reason(page_of: Callable[..., Page]) -> None:
    text = page_of(**OUTCOMES["refused"]).text
    assert "Refused by the gate, and not pushed: recall is 0.1; f1 is 0.2." in text
    assert "Pushed as" not in text


def test_a_failure_gives_its_reason_and_what_it_came_to(page_of: Callable[..., Page]) -> None:
    text = page_of(**OUTCOMES["failed"]).text
    assert "The run failed. DataGate: the data do not match <schema> & more" in text
    assert "No winner was chosen." in text
    assert "Transform done 12.3" in text


def test_synthetic_data_are_called_so(page_of: Callable[..., Page], make_record: MakeRecord) -> None:
    synthetic = replace(make_record().data, synthetic=True)
    assert "Synthetic data: these images were drawn by a program." in page_of(data=synthetic).text


def test_patients_and_images_of_each_split_are_shown(page_of: Callable[..., Page]) -> None:
    table = "split patients images share train 14 60 60.0 % validation 4 16 16.0 % test 6 24 24.0 %"
    assert table in page_of().text


def test_images_left_out_are_counted(page_of: Callable[..., Page], make_record: MakeRecord) -> None:
    data = replace(make_record().data, left_out=123)
    assert "123 images left out: second copies of a slide" in page_of(data=data).text


def test_what_was_quarantined_is_listed_with_its_reason(page_of: Callable[..., Page]) -> None:
    ingest = {
        "images": {},
        "quarantined": [{"path": "a.png", "reason": "zero bytes"}],
        "left_out": [],
        "passed_over": ["README.txt"],
        "duplicates": [
            [
                {"path": "b.png", "patient": "1", "split": "train"},
                {"path": "c.png", "patient": "2", "split": "test"},
            ]
        ],
    }
    text = page_of(ingest=ingest).text
    assert "Images quarantined: 1." in text and "quarantined reason a.png zero bytes" in text
    assert "another patient's image: 2." in text
    assert "The same pixels under several patients: b.png (1, train), c.png (2, test)" in text
    assert "Passed over: README.txt." in text


def test_a_clean_ingest_is_told_in_a_line(page_of: Callable[..., Page]) -> None:
    ingest: dict[str, object] = {
        "images": {},
        "quarantined": [],
        "left_out": [],
        "passed_over": [],
        "duplicates": [],
    }
    text = page_of(ingest=ingest).text
    assert "Images quarantined: 0." in text and "reason" not in text


def test_nodes_and_configuration_are_shown(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "Transform done 12.3 Pusher cached 0.0" in text
    assert text.endswith("Configuration name: knet-demo")


def test_an_undefined_metric_is_called_so(page_of: Callable[..., Page], make_record: MakeRecord) -> None:
    candidate = replace(make_record().candidates["vgg16"], metrics={"test": {"roc_auc": float("nan")}})
    assert "undefined" in page_of(candidates={"vgg16": candidate}).text


@pytest.mark.parametrize(
    "field", [{"error": "<script>x"}, {"name": "<script>x"}, {"config": "<script>x"}, {"winner": "<script>x"}]
)
def test_no_value_is_taken_for_html(page_of: Callable[..., Page], field: dict[str, str]) -> None:
    page = page_of(**field)
    assert "script" not in page.elements
    assert "<script>x" in page.text


def test_the_page_loads_nothing_from_elsewhere(page_of: Callable[..., Page]) -> None:
    assert page_of().links == ["report.json"]


def test_the_page_on_the_data_is_linked_where_there_is_one(
    page_of: Callable[..., Page], tmp_path: Path
) -> None:
    (tmp_path / "data.html").touch()
    assert page_of().links == ["report.json", "data.html"]


def test_the_figures_stand_beside_the_page(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record()
    page = write_report(record, tmp_path / "reports" / record.run_id)
    assert page.name == "report.html"
    assert json.loads(page.with_name("report.json").read_text("utf-8")) == json.loads(record.to_json())
