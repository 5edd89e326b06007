"""A log of several versions: each judged by itself."""

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
    Monitored,
    monitor,
    monitor_table,
    write_metrics,
    write_monitor_page,
)
from knet.serving.monitoring.read_log import BrokenLine, LoggedRequests


@pytest.fixture(scope="module")
def watch(training: Any, predictions: pd.DataFrame, schema: Any) -> Callable[..., Monitored]:
    """Judges logs."""

    def of(*frames: pd.DataFrame, broken: int = 0, **settings: Any) -> Monitored:
        lines = tuple(BrokenLine(Path("a.jsonl"), line, "cut off") for line in range(1, broken + 1))
        return monitor(
            LoggedRequests(pd.concat(frames, ignore_index=True), lines),
            reference_of=lambda version: Reference(training, predictions, f"run {version}"),
            schema=schema,
            doubted_limit=0.2,
            **{"least": 50, **settings},
        )

    return of


def test_versions_are_judged_apart_and_those_with_too_few_images_are_named(
    watch: Callable[..., Monitored], answers: Any
) -> None:
    monitored = watch(
        answers(100, version=7), answers(100, version=8, mean_red=3.0), answers(20, version=9), broken=12
    )
    assert [judgement.version for judgement in monitored.judgements] == [8, 7]
    assert [judgement.reference.origin for judgement in monitored.judgements] == ["run 8", "run 7"]
    assert [bool(judgement.findings) for judgement in monitored.judgements] == [True, False]
    assert (monitored.drifted, monitored.too_few) == (True, {9: 20})
    assert monitored.lines[0].startswith("version 8: image/mean_red: ")
    assert monitored.lines[1:3] == [
        "version 9: not judged, 20 measured images are too few",
        "broken line: a.jsonl:1: cut off",
    ]
    assert monitored.lines[-1] == "and 2 more broken lines"
    assert monitor_table(monitored).row_count == 2


def test_a_log_without_drift_says_nothing(watch: Callable[..., Monitored], answers: Any) -> None:
    monitored = watch(answers())
    assert (monitored.drifted, monitored.lines) == (False, [])


def test_too_few_images_of_every_version_are_an_error(watch: Callable[..., Monitored], answers: Any) -> None:
    unusable = answers(60, version=8).assign(unusable="not 8-bit RGB but grey")
    with pytest.raises(
        UserError,
        match=r"version 7: 49 measured images of at least 50; version 8: 0 measured .*; wait for more, or ",
    ):
        watch(answers(49), unusable)


def test_too_few_images_of_the_earlier_log_are_an_error(
    watch: Callable[..., Monitored], answers: Any
) -> None:
    with pytest.raises(UserError, match="too few requests in the earlier log: 10 measured images"):
        watch(answers(), earlier=LoggedRequests(answers(10), ()))


@pytest.fixture(scope="module")
def page(
    training: Any, predictions: Any, schema: Any, answers: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of a version that drifted, one that did not and has no predictions, and one with too few images."""
    frame = answers(150, version=8, mean_red=3.0, doubted=0.3)
    frame.loc[:1, "unusable"] = "not 8-bit RGB but grey"
    settings: dict[str, Any] = {"schema": schema, "doubted_limit": 0.2}
    judgements = (
        analyze_requests(
            frame,
            reference=Reference(training, predictions, "run <2>", synthetic=True),
            earlier=answers(150),
            **settings,
        ),
        analyze_requests(answers(150), reference=Reference(training, None, "run 1"), **settings),
    )
    broken = tuple(BrokenLine(Path(f"/logs/{line}.jsonl"), line, "cut <off>") for line in range(60))
    file = tmp_path_factory.mktemp("pages") / "new" / "monitor.html"
    write_monitor_page(file, Monitored(judgements, {9: 3}, broken), title="requests & more")
    return file


def test_it_says_what_was_found_of_which_version(page: Path) -> None:
    text = re.sub(r"\s+", " ", page.read_text("utf-8"))
    assert "version 8: 3 findings; version 7: no findings" in text
    assert re.findall(r'<tr class="drifted"><th scope="row">([^<]+)', text) == ["image/mean_red"]
    assert "Version 9 has 3 measured images, too few to compare." in text
    assert "30.0 %<small>20 % are allowed" in text
    assert "None: what was asked is like what the model was made for." in text
    assert text.count("Synthetic data.") == 1
    assert '<th scope="row">not 8-bit RGB but grey</th><td>2</td>' in text
    assert "60 lines of the log are no answers and were passed over; the first are" in text
    assert text.count("cut &lt;off&gt;") == 50 and "run &lt;2&gt;" in text and "requests &amp; more" in text
    assert text.count("Scores were not compared") == 1


def test_every_scalar_and_the_score_are_drawn(page: Path) -> None:
    labels = re.findall(r'aria-label="([^:"]+): share of images up to each value', page.read_text("utf-8"))
    assert len(labels) == 10 + 12
    assert labels[:2] == ["score", "distance"] and len(set(labels)) == 12


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, False), (1280, True)])
def test_it_looks_right_and_loads_nothing(
    page: Path, debian_program: Callable[..., Path], width: int, dark: bool
) -> None:
    with Browser(debian_program("chromium", package="chromium")) as browser:
        browser.open(f"file://{page}", width=width, dark=dark)
        assert (browser.complaints, browser.faint) == ([], [])
        assert browser.requested == [f"file://{page}"]
        assert browser.needed_width <= width


def test_every_number_of_a_judgement_is_a_gauge(
    training: Any, predictions: Any, schema: Any, answers: Any, tmp_path: Path
) -> None:
    judgement = analyze_requests(
        answers(doubted=0.3),
        reference=Reference(training, predictions, "run 1"),
        schema=schema,
        doubted_limit=0.2,
    )
    file = tmp_path / "new" / "knet.prom"
    write_metrics(file, Monitored((judgement,), {}, (BrokenLine(Path("a.jsonl"), 1, "cut off"),)))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text("utf-8"))
        for sample in family.samples
    }
    assert samples["knet_monitor_findings", "7"] == 1
    assert samples["knet_monitor_doubted_share", "7"] == pytest.approx(0.3)
    assert samples["knet_monitor_broken_lines",] == 1
    assert time.time() - samples["knet_monitor_last_run_timestamp_seconds",] < 60
    for distance in judgement.skew:
        assert samples["knet_monitor_distance", distance.feature, "7"] == pytest.approx(distance.value)
    assert [answer.name for answer in judgement.answers] == ["score", "distance"]
    for answer in judgement.answers:
        assert samples["knet_monitor_distance", answer.name, "7"] == pytest.approx(answer.value)
