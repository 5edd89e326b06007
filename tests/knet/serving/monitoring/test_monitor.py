"""Tests of the monitoring report of a log of several versions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import Browser
from prometheus_client.parser import text_string_to_metric_families

from knet.base.errors import UserError
from knet.serving.monitoring.analysis import Reference, analyze_requests
from knet.serving.monitoring.monitor import (
    MonitoringReport,
    analyze_log,
    versions_table,
    write_metrics,
    write_monitor_page,
)
from knet.serving.monitoring.read_log import BrokenLine, LoggedRequests


@pytest.fixture(scope="module")
def analyze(training: Any, predictions: pd.DataFrame, schema: Any) -> Callable[..., MonitoringReport]:
    """Analyze logs."""

    def of(*frames: pd.DataFrame, broken: int = 0, **settings: Any) -> MonitoringReport:
        lines = tuple(BrokenLine(Path("a.jsonl"), line, "truncated") for line in range(1, broken + 1))
        return analyze_log(
            LoggedRequests(pd.concat(frames, ignore_index=True), lines),
            reference_of=lambda version: Reference(training, predictions, f"run {version}"),
            schema=schema,
            max_ood_share=0.2,
            **{"min_images": 50, **settings},
        )

    return of


def test_analyze_log_analyzes_versions_separately(
    analyze: Callable[..., MonitoringReport], logged: Any
) -> None:
    report = analyze(
        logged(100, version=7), logged(100, version=8, mean_red=3.0), logged(20, version=9), broken=12
    )
    assert [analysis.version for analysis in report.analyses] == [8, 7]
    assert [analysis.reference.origin for analysis in report.analyses] == ["run 8", "run 7"]
    assert [bool(analysis.findings) for analysis in report.analyses] == [True, False]
    assert (report.drifted, report.too_few) == (True, {9: 20})
    assert report.lines[0].startswith("version 8: image/mean_red: ")
    assert report.lines[1:3] == [
        "version 9: not analyzed, 20 measured images are too few",
        "broken line: a.jsonl:1: truncated",
    ]
    assert report.lines[-1] == "and 2 more broken lines"
    assert versions_table(report).row_count == 2


def test_analyze_log_without_drift_is_silent(analyze: Callable[..., MonitoringReport], logged: Any) -> None:
    report = analyze(logged())
    assert (report.drifted, report.lines) == (False, [])


def test_analyze_log_too_few_images_is_refused(analyze: Callable[..., MonitoringReport], logged: Any) -> None:
    unusable = logged(60, version=8).assign(unusable="not 8-bit RGB but grey")
    with pytest.raises(
        UserError,
        match=r"version 7: 49 measured images of at least 50; version 8: 0 measured .*; wait for more, or ",
    ):
        analyze(logged(49), unusable)


def test_analyze_log_too_few_baseline_images_is_refused(
    analyze: Callable[..., MonitoringReport], logged: Any
) -> None:
    with pytest.raises(UserError, match="too few requests in the baseline log: 10 measured images"):
        analyze(logged(), baseline=LoggedRequests(logged(10), ()))


def test_degenerate_scores_are_named_in_lines_table_and_page(
    training: Any, predictions: pd.DataFrame, schema: Any, logged: Any, tmp_path: Path
) -> None:
    reference = Reference(training, predictions.assign(score=0.5), "run 1")
    analysis = analyze_requests(logged(), reference=reference, schema=schema, max_ood_share=0.2)
    report = MonitoringReport((analysis,), {}, ())
    note = "score: degenerate (0.500 to 0.500 for all evaluated images), so it is not compared"
    assert (report.drifted, report.lines) == (False, [f"version 7: {note}"])
    assert list(versions_table(report).columns[7].cells) == ["degenerate"]
    write_monitor_page(tmp_path / "monitor.html", report, title="log")
    text = (tmp_path / "monitor.html").read_text("utf-8")
    assert f"{note}. A model that" in text and "<td>degenerate</td>" in text


@pytest.fixture(scope="module")
def page(
    training: Any, predictions: Any, schema: Any, logged: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Page of a drifted version, one without drift and predictions, and one with too few images."""
    frame = logged(150, version=8, mean_red=3.0, flagged=0.3)
    frame.loc[:1, "unusable"] = "not 8-bit RGB but grey"
    settings: dict[str, Any] = {"schema": schema, "max_ood_share": 0.2}
    analyses = (
        analyze_requests(
            frame,
            reference=Reference(training, predictions, "run <2>", synthetic=True),
            baseline=logged(150),
            **settings,
        ),
        analyze_requests(logged(150), reference=Reference(training, None, "run 1"), **settings),
    )
    broken = tuple(BrokenLine(Path(f"/logs/{line}.jsonl"), line, "cut <off>") for line in range(60))
    file = tmp_path_factory.mktemp("pages") / "new" / "monitor.html"
    write_monitor_page(file, MonitoringReport(analyses, {9: 3}, broken), title="requests & more")
    return file


def test_page_shows_findings_by_version(page: Path) -> None:
    text = re.sub(r"\s+", " ", page.read_text("utf-8"))
    assert "version 8: 3 findings; version 7: no findings" in text
    assert re.findall(r'<tr class="drifted"><th scope="row">([^<]+)', text) == ["image/mean_red"]
    assert "Version 9 has 3 measured images, too few to compare." in text
    assert "30.0 %<small>20 % allowed" in text
    assert "None: the requests match the training and evaluation data." in text
    assert text.count("Synthetic data.") == 1
    assert '<th scope="row">not 8-bit RGB but grey</th><td>2</td>' in text
    assert "60 lines of the log could not be read; the first are" in text
    assert text.count("cut &lt;off&gt;") == 50 and "run &lt;2&gt;" in text and "requests &amp; more" in text
    assert text.count("Scores were not compared") == 1


def test_page_has_a_chart_per_scalar_and_output(page: Path) -> None:
    labels = re.findall(r'aria-label="([^:"]+): share of images up to each value', page.read_text("utf-8"))
    assert len(labels) == 10 + 12
    assert labels[:2] == ["score", "distance"] and len(set(labels)) == 12


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, False), (1280, True)])
def test_page_is_readable_and_loads_nothing(
    page: Path, debian_program: Callable[..., Path], width: int, dark: bool
) -> None:
    with Browser(debian_program("chromium", package="chromium")) as browser:
        browser.open(f"file://{page}", width=width, dark=dark)
        assert (browser.complaints, browser.faint) == ([], [])
        assert browser.requested == [f"file://{page}"]
        assert browser.needed_width <= width


def test_write_metrics_exports_every_number(
    training: Any, predictions: Any, schema: Any, logged: Any, tmp_path: Path
) -> None:
    analysis = analyze_requests(
        logged(flagged=0.3),
        reference=Reference(training, predictions, "run 1"),
        schema=schema,
        max_ood_share=0.2,
    )
    file = tmp_path / "new" / "knet.prom"
    before = time.time()
    write_metrics(file, MonitoringReport((analysis,), {}, (BrokenLine(Path("a.jsonl"), 1, "truncated"),)))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text("utf-8"))
        for sample in family.samples
    }
    assert samples["knet_monitor_findings", "7"] == 1
    assert samples["knet_monitor_flagged_ood_share", "7"] == pytest.approx(0.3)
    assert samples["knet_monitor_broken_lines",] == 1
    assert before <= samples["knet_monitor_last_run_timestamp_seconds",] <= time.time()
    for distance in analysis.skew:
        assert samples["knet_monitor_distance", distance.feature, "7"] == pytest.approx(distance.value)
    assert [output.name for output in analysis.outputs] == ["score", "distance"]
    for output in analysis.outputs:
        assert samples["knet_monitor_distance", output.name, "7"] == pytest.approx(output.value)
