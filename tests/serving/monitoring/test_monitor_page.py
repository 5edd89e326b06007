"""The page on what was asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser

from serving.monitoring.judge_requests import judge_requests
from serving.monitoring.monitor import Monitored
from serving.monitoring.monitor_page import write_monitor_page
from serving.monitoring.read_log import BrokenLine
from serving.monitoring.reference import Reference


@pytest.fixture(scope="module")
def page(
    training: Any, predictions: Any, schema: Any, answers: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of a version that drifted, one that did not and has no predictions, and one with too few images."""
    frame = answers(150, version=8, mean_red=3.0, doubted=0.3)
    frame.loc[:1, "unusable"] = "not 8-bit RGB but grey"
    settings: dict[str, Any] = {"schema": schema, "doubted_limit": 0.2}
    judgements = (
        judge_requests(
            frame,
            reference=Reference(training, predictions, "run <2>", synthetic=True),
            earlier=answers(150),
            **settings,
        ),
        judge_requests(answers(150), reference=Reference(training, None, "run 1"), **settings),
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
