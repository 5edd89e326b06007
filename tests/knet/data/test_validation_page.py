"""The page on a run's data."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from knet.data.validation import Anomaly, Distance, ValidationReport
from knet.data.validation_page import write_page

GOOD = ValidationReport(findings=())
FINDING = Anomaly("test", "magnification", "Unexpected string values", "<script>400X")


@pytest.fixture
def page(statistics_of: Any, tmp_path: Path) -> Callable[..., str]:
    """The text of a page."""

    def make(judgement: ValidationReport = GOOD, **changes: Any) -> str:
        path = tmp_path / "new" / "data.html"
        fields = {
            "title": "knet-demo, run 1",
            "synthetic": False,
            "statistics": {"train": statistics_of(), "train of run 0": statistics_of(mean=100)},
        }
        write_page(path, judgement=judgement, **{**fields, **changes})
        return path.read_text("utf-8")

    return make


def own(page: str) -> str:
    """The page without the bundle."""
    return page[: page.index("<facets-overview ")]


def test_findings_stand_in_a_table_and_are_not_taken_for_html(page: Callable[..., str]) -> None:
    text = own(page(ValidationReport((FINDING,))))
    assert "The data did not pass." in text
    assert "<td>test</td><td>magnification</td>" in text
    assert "&lt;script&gt;400X" in text and "<script>400X" not in text


def test_good_data_are_said_to_be_good(page: Callable[..., str]) -> None:
    text = own(page())
    assert "Nothing is wrong" in text and "did not pass" not in text
    assert "Not measured" in text


def test_distances_are_shown_and_those_too_far_are_marked(page: Callable[..., str]) -> None:
    drift = (Distance("image/eosin", 0.125, 0.2), Distance("image/laplacian", 0.5, 0.2))
    text = own(page(ValidationReport((), drift)))
    assert re.findall(r'class="drifted"><td>([^<]*)', text) == ["image/laplacian"]
    assert '<td class="figure">0.125</td>' in text
    assert "Not measured" not in text


def test_facets_is_given_the_statistics_of_every_set(page: Callable[..., str], statistics_of: Any) -> None:
    (encoded,) = re.findall(r'<facets-overview proto-input="([^"]*)">', page())
    shown = DatasetFeatureStatisticsList.FromString(base64.b64decode(encoded))
    assert [dataset.name for dataset in shown.datasets] == ["train", "train of run 0"]
    assert shown.datasets[0].features == statistics_of().datasets[0].features


def test_an_empty_split_is_left_to_the_findings(page: Callable[..., str]) -> None:
    empty = DatasetFeatureStatisticsList()
    empty.datasets.add()
    assert 'proto-input=""' in page(statistics={"test": empty})


def test_the_element_comes_with_the_page_which_may_load_nothing(page: Callable[..., str]) -> None:
    text = page()
    assert 'is:"facets-overview"' in text.replace(" ", "")
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval';" in text
    assert "<script src" not in text


def test_synthetic_images_are_called_so(page: Callable[..., str]) -> None:
    assert "Synthetic data: these images were drawn by a program." in own(page(synthetic=True))
    assert "Synthetic" not in own(page())
