"""A log of several versions: each judged by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.errors import UserError
from serving.monitoring.monitor import Monitored, monitor
from serving.monitoring.monitor_table import monitor_table
from serving.monitoring.read_log import BrokenLine, LoggedRequests
from serving.monitoring.reference import Reference


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
