"""The report page of every kind of run."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from knet.base import run_files
from knet.base.split_units import leak_warning
from knet.report import published
from knet.report.report import write_report
from knet.runs.record import RunRecord

MakeRecord = Callable[..., RunRecord]
VOID = {"meta", "link", "br", "hr", "img", "input"}  # elements without an end
OUTCOMES: dict[str, dict[str, object]] = {
    "pushed": {},
    "not pushed": {"refusals": ("recall is 0.1", "f1 is 0.2"), "pushed_version": None, "pushed_folder": None},
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
        for name, value in attrs:
            if name in ("href", "src") and value and not value.startswith("#"):
                self.links.append(value)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def page_of(make_record: MakeRecord, tmp_path: Path) -> Callable[..., Page]:
    """Makes the page of a run with some fields changed."""
    return lambda **changes: Page(write_report(make_record(**changes), tmp_path).read_text("utf-8"))


@pytest.mark.parametrize("outcome", ["pushed", "not pushed"])
def test_page_of_a_run_with_failures_says_so(page_of: Callable[..., Page], outcome: str) -> None:
    page = page_of(**OUTCOMES[outcome], failures={"vgg16": "Trainer-vgg16: the loss is not finite"})
    assert f"{outcome} with failures" in page.text and "without vgg16, which failed" in page.text


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_page_of_every_outcome_names_the_run(page_of: Callable[..., Page], outcome: str) -> None:
    page = page_of(**OUTCOMES[outcome])
    assert page.elements.count("html") == page.elements.count("body") == 1
    assert "Run 20240131-120000, started 2024-01-31T12:00:00+00:00" in page.text


def test_page_shows_split_and_notes(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "SHA-256 of the split fedcba987654… ." in text
    assert "subtype adenosis: 2 patients, too few for three splits; none in test" in text


def test_page_names_the_pushed_winner(page_of: Callable[..., Page]) -> None:
    text = page_of(choice="highest accuracy").text
    assert "pushed mobilenet is served as version 1706702400: highest accuracy" in text
    assert "Synthetic" not in text and "excluded" not in text


def test_page_shows_selection_reason_and_gate_notes(page_of: Callable[..., Page]) -> None:
    text = page_of(choice="selection.force_winner", gate_notes=("there is no model to compare with",)).text
    assert "pushed mobilenet is served as version 1706702400: selection.force_winner" in text
    assert "Notes of the gate: there is no model to compare with" in text


def test_page_shows_all_candidates(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "mobilenet 2017 1.23 million 2.5 million 64 px imagenet" in text
    assert "vgg16 2014 1.23 million" in text


def test_page_shows_the_backbone_of_a_named_candidate(
    page_of: Callable[..., Page], make_record: MakeRecord
) -> None:
    candidate = make_record().candidates["vgg16"]
    info = replace(candidate.info, candidate="deep", backbone="resnet152", head="serial")
    text = page_of(candidates={"deep": replace(candidate, info=info)}, winner="deep").text
    assert "deep (resnet152) 2015 1.23 million" in text
    assert "deep (resnet152) with an LSTM branch" in text


def test_page_not_pushed_shows_every_reason(page_of: Callable[..., Page]) -> None:
    text = page_of(**OUTCOMES["not pushed"]).text
    assert "not pushed mobilenet: recall is 0.1; f1 is 0.2" in text
    assert "is served" not in text


def test_page_of_failed_run_shows_error_and_nodes(page_of: Callable[..., Page]) -> None:
    text = page_of(**OUTCOMES["failed"]).text
    assert "failed DataGate: the data do not match <schema> & more" in text
    assert "Winner none" in text
    assert "Transform done 12.3" in text


def test_page_marks_synthetic_data(page_of: Callable[..., Page], make_record: MakeRecord) -> None:
    synthetic = replace(make_record().data, synthetic=True)
    assert "Synthetic data. These images were generated by a program." in page_of(data=synthetic).text


def test_page_counts_patients_and_images_by_split(page_of: Callable[..., Page]) -> None:
    table = "split patients images share train 14 60 60.0 % validation 4 16 16.0 % test 6 24 24.0 %"
    assert table in page_of().text


def test_data_section_counts_excluded_duplicates(
    page_of: Callable[..., Page], make_record: MakeRecord
) -> None:
    data = replace(make_record().data, excluded_duplicates=123)
    assert "123 images were excluded: second copies of a slide" in page_of(data=data).text


@pytest.fixture
def ingest() -> dict[str, Any]:
    """Ingest result of data without problems."""
    counts = {split: {"benign": 1, "malignant": 2} for split in ("train", "validation", "test")}
    names = ("quarantined", "excluded_duplicates", "ignored_files", "duplicates")
    lists: dict[str, Any] = {name: [] for name in names}
    return {"images": counts, "patients": counts, **lists}


def test_page_counts_patients_and_images_by_class(
    page_of: Callable[..., Page], ingest: dict[str, Any]
) -> None:
    assert "train 14 1 2 60 1 2 60.0 %" in page_of(ingest=ingest).text


def test_page_lists_quarantined_files(page_of: Callable[..., Page], ingest: dict[str, Any]) -> None:
    ingest["quarantined"] = [{"path": "a.png", "reason": "zero bytes"}]
    ingest["ignored_files"] = ["README.txt"]
    ingest["duplicates"] = [
        [
            {"path": "b.png", "patient": "1", "split": "train"},
            {"path": "c.png", "patient": "2", "split": "test"},
        ]
    ]
    text = page_of(ingest=ingest).text
    assert "Quarantined: 1 image." in text and "file reason a.png zero bytes" in text
    assert "another patient's image: 2." in text
    assert "The same pixels under several patients: b.png (1, train), c.png (2, test)" in text
    assert "Ignored files README.txt" in text


def test_page_of_clean_ingest_has_no_table(page_of: Callable[..., Page], ingest: dict[str, Any]) -> None:
    text = page_of(ingest=ingest).text
    assert "Quarantined: 0 images." in text and "Quarantined images" not in text


def test_page_shows_nodes_and_configuration(page_of: Callable[..., Page]) -> None:
    text = page_of().text
    assert "Transform done 12.3 Pusher cached 0.0" in text
    assert "Every setting, as knet run --config reads it" in text and "name: knet-demo" in text


@pytest.mark.parametrize(
    "field", [{"error": "<script>x"}, {"name": "<script>x"}, {"choice": "<script>x"}, {"winner": "<script>x"}]
)
def test_page_escapes_values(page_of: Callable[..., Page], field: dict[str, str]) -> None:
    page = page_of(**field)
    assert "script" not in page.elements
    assert "<script>x" in page.text


def test_page_links_record_and_data_source(page_of: Callable[..., Page]) -> None:
    assert page_of().links == ["report.json", "https://doi.org/10.1109/TBME.2015.2496264"]


def test_page_shows_results_before_data_and_training(full_page: Path) -> None:
    order = re.findall(r'<section id="(\w+)"', full_page.read_text("utf-8"))
    assert order.index("candidates") < order.index("patients") < order.index("data") < order.index("tuning")


def test_digest_is_abbreviated_with_the_whole_in_its_title(full_page: Path) -> None:
    html = full_page.read_text("utf-8")
    titles = re.findall(r'<code title="(\w{40,})">(\w{12})…</code>', html)
    assert titles and all(whole.startswith(short) for whole, short in titles)


def test_cards_name_few_patients_of_a_class(
    full_record: RunRecord, full_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(full_folder, tmp_path / "run")
    file = folder / run_files.RESULTS
    results = json.loads(file.read_text("utf-8"))
    whole = results["candidates"]["resnet152"]["splits"]["test"][0]
    for count, shown in ((5, False), (4, True)):
        whole["patients"] = {"benign": count, "malignant": 9}
        file.write_text(json.dumps(results), "utf-8")
        text = Page(write_report(full_record, folder).read_text("utf-8")).text
        assert ("4 patients of a class" in text and "five test patients (benign 4)" in text) is shown


def test_empty_heat_map_is_named(full_record: RunRecord, full_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(full_folder, tmp_path / "run")
    file = folder / run_files.EXPLANATIONS / run_files.EXPLANATIONS_FILE
    explained = json.loads(file.read_text("utf-8"))
    for number, image in enumerate(explained["images"]):
        image["empty"] = number == 0
    file.write_text(json.dumps(explained), "utf-8")
    assert Page(write_report(full_record, folder).read_text("utf-8")).text.count("no region supports") == 1


def test_page_links_the_data_page(page_of: Callable[..., Page], tmp_path: Path) -> None:
    (tmp_path / "data.html").touch()
    assert "data.html" in page_of().links


def test_record_is_written_beside_the_page(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record()
    page = write_report(record, tmp_path / "reports" / record.run_id)
    assert page.name == "report.html"
    assert json.loads(page.with_name("report.json").read_text("utf-8")) == json.loads(record.to_json())


SECTIONS = {
    "summary": "pushed resnet152 is served as version 1706702400: highest balanced_accuracy on validation",
    "data": "train 50 16 34 5,000 1,600 3,400 71.4 %",
    "anomalies": "image/eosin 0.031 0.2 passed",
    "tuning": "10 trials (bayesian), 1 of them failed.",
    "learning": "43 epochs in 44 min 0 s on 1 x GPU (mixed_float16); best epoch 33.",
    "candidates": "won: highest balanced_accuracy",
    "paper": "resnet152 2015 59.9 million 23.9 billion 227 px imagenet",
    "curves": "1 − specificity (share of images)",
    "calibration": "mean probability of malignant",
    "confusion": "true class predicted benign predicted malignant",
    "slices": "magnification 100X 75 (3) 125 (5)",
    "patients": "Of the worst patients, at most 4 images each",
    "heat_maps": "random weights (5 draws) is 0.118 (Spearman)",
    "nodes": "Transform cached 0.3",
    "lineage": "Artifacts of this run in MLMD",
    "model_card": "Research software. It must not be used for diagnosis",
    "configuration": "name: knet-production",
}


@pytest.fixture(scope="module")
def full_page(full_record: RunRecord, full_folder: Path) -> Path:
    return write_report(full_record, full_folder)


@pytest.mark.parametrize("section", SECTIONS)
def test_section_of_full_run_shows_its_inputs(full_page: Path, section: str) -> None:
    html = full_page.read_text("utf-8")
    part = html[html.index(f'<section id="{section}"') :].partition("</section>")[0] + "</section>"
    page = Page(part)
    assert SECTIONS[section] in page.text
    assert 'class="missing"' not in part


@pytest.mark.parametrize(
    "section",
    [
        section
        for section in SECTIONS
        if section not in ("summary", "data", "nodes", "lineage", "model_card", "configuration")
    ],
)
def test_section_without_input_states_the_reason(
    failed_record: RunRecord, tmp_path: Path, section: str
) -> None:
    html = write_report(failed_record, tmp_path).read_text("utf-8")
    part = html[html.index(f'<section id="{section}"') :].partition("</section>")[0]
    assert re.search(r'<p class="missing">[A-Z][^<]+\.</p>', part)


def test_page_size_is_limited(full_page: Path) -> None:
    assert full_page.stat().st_size < 2_000_000


def test_page_tables_and_images_are_accessible(full_page: Path) -> None:
    html = full_page.read_text("utf-8")
    assert html.count("<table") == html.count("<caption")
    assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", html))
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img\b[^>]*>", html))
    for drawing in re.findall(r'<svg class="chart"[^>]*>', html):
        assert re.search(r'role="img" aria-label="[^"]+"', drawing)


def test_page_metrics_equal_the_results(full_page: Path) -> None:
    text = Page(full_page.read_text("utf-8")).text
    results = json.loads((full_page.parent / "results.json").read_text("utf-8"))
    parts = results["candidates"]["resnet152"]["splits"]["test"]
    (whole,) = [part for part in parts if not part["slice"]]
    found = whole["metrics"]["roc_auc"]
    assert f"ROC-AUC, test {found['value']:.3f} {found['low']:.3f} to {found['high']:.3f}" in text
    tn, fp = whole["confusion"]["true_negatives"], whole["confusion"]["false_positives"]
    assert f"benign {tn} ({100 * tn / (tn + fp):.0f} %) {fp} " in text


def test_page_of_a_split_by_image_warns_of_the_leak(
    full_record: RunRecord, full_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(full_folder, folder)
    config = copy.deepcopy(full_record.config)
    config["data"]["split"]["unit"] = "image"
    page = write_report(replace(full_record, config=config), folder).read_text("utf-8")
    text = Page(page).text
    warning = leak_warning("image")
    assert warning is not None and text.count(warning) == 2  # at the top and in the model card
    assert '<p class="verdict failed"><strong>Patients leak into test</strong>' in page
    assert "No patient is in two splits" not in text and "A patient is never in two splits" not in text
    assert "Patients leak into test" not in write_report(full_record, full_folder).read_text("utf-8")


def test_page_states_the_protocol_of_the_paper(full_page: Path) -> None:
    text = Page(full_page.read_text("utf-8")).text
    assert f"The test sets differ. {published.PROTOCOL}" in text


def test_report_reads_a_decision_with_former_setting_names(
    full_record: RunRecord, full_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(full_folder, folder)
    file = folder / run_files.DECISION
    decision = json.loads(file.read_text("utf-8"))
    decision["pin"], decision["tie"] = decision.pop("force_winner"), decision.pop("equivalence_margin")
    file.write_text(json.dumps(decision), "utf-8")
    before = write_report(full_record, full_folder).read_text("utf-8")
    assert write_report(full_record, folder).read_text("utf-8") == before


def test_report_reads_a_validation_report_with_findings(
    full_record: RunRecord, full_folder: Path, tmp_path: Path
) -> None:
    anomaly = {"split": "train", "feature": "image/width", "anomaly": "Out of range", "details": "up to 8000"}
    pages = []
    for name in ("anomalies", "findings"):
        folder = tmp_path / name
        shutil.copytree(full_folder, folder)
        (folder / run_files.VALIDATION).write_text(json.dumps({name: [anomaly], "drift": []}), "utf-8")
        pages.append(write_report(full_record, folder).read_text("utf-8"))
    assert "train image/width Out of range up to 8000" in Page(pages[0]).text
    assert pages[0] == pages[1]


def test_page_of_three_classes_shows_each_class(run_of_three: tuple[RunRecord, Path]) -> None:
    record, folder = run_of_three
    page = Page(write_report(record, folder).read_text("utf-8"))
    assert "Macro ROC-AUC, test" in page.text
    assert "Each class against all others, by resnet152" in page.text
    assert "true class predicted fat predicted stroma predicted tumor fat" in page.text
    assert "mean probability of the true class" in page.text
    assert "classes fat, stroma and tumor" in page.text
    assert "Comparison with the paper" not in page.text
    of_group = (
        "Recall of the positive group, test",
        "The positive group, tumor, against the other classes",
        "true class predicted other classes predicted positive group other classes",
        "sensitivity for the positive group",
        "threshold of the positive group 0.500",
    )
    for text in of_group:
        assert (text in page.text) is bool(record.config["data"]["positive"])
    assert ("positive group" in page.text) is bool(record.config["data"]["positive"])
