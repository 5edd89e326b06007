"""HTML page on a run's data."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from knet.data.validation import Anomaly, Distance, ValidationReport
from knet.data.validation_page import render_validation_page

GOOD = ValidationReport(anomalies=())
ANOMALY = Anomaly("test", "magnification", "Unexpected string values", "<script>400X")


@pytest.fixture
def page(statistics_of: Any) -> Callable[..., str]:
    """Renders a page."""

    def make(report: ValidationReport = GOOD, **changes: Any) -> str:
        fields = {
            "title": "knet-demo, run 1",
            "synthetic": False,
            "statistics": {"train": statistics_of(), "train of run 0": statistics_of(mean=100)},
        }
        return render_validation_page(report=report, **{**fields, **changes})

    return make


def own(page: str) -> str:
    """The page without the bundle."""
    return page[: page.index("<facets-overview ")]


def test_page_escapes_anomalies(page: Callable[..., str]) -> None:
    text = own(page(ValidationReport((ANOMALY,))))
    assert "The data did not pass." in text
    assert "<td>test</td><td>magnification</td>" in text
    assert "&lt;script&gt;400X" in text and "<script>400X" not in text


def test_page_without_anomalies_says_so(page: Callable[..., str]) -> None:
    text = own(page())
    assert "No anomalies" in text and "did not pass" not in text
    assert "Not measured" in text


def test_page_marks_drifted_features(page: Callable[..., str]) -> None:
    drift = (Distance("image/eosin", 0.125, 0.2), Distance("image/laplacian", 0.5, 0.2))
    text = own(page(ValidationReport((), drift)))
    assert re.findall(r'class="drifted"><td>([^<]*)', text) == ["image/laplacian"]
    assert '<td class="figure">0.125</td>' in text
    assert "Not measured" not in text


def test_page_passes_all_statistics_to_facets(page: Callable[..., str], statistics_of: Any) -> None:
    (encoded,) = re.findall(r'<facets-overview proto-input="([^"]*)">', page())
    shown = DatasetFeatureStatisticsList.FromString(base64.b64decode(encoded))
    assert [dataset.name for dataset in shown.datasets] == ["train", "train of run 0"]
    assert shown.datasets[0].features == statistics_of().datasets[0].features


def test_page_omits_statistics_of_an_empty_split(page: Callable[..., str]) -> None:
    empty = DatasetFeatureStatisticsList()
    empty.datasets.add()
    assert 'proto-input=""' in page(statistics={"test": empty})


def test_page_bundles_facets_and_loads_nothing(page: Callable[..., str]) -> None:
    text = page()
    assert 'is:"facets-overview"' in text.replace(" ", "")
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval';" in text
    assert "<script src" not in text


def test_page_calls_synthetic_images_synthetic(page: Callable[..., str]) -> None:
    assert "Synthetic data: these images were drawn by a program." in own(page(synthetic=True))
    assert "Synthetic" not in own(page())
