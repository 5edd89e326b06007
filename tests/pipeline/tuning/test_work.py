"""Processes that are told where searches are find the one to take part in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pipeline.tuning.search_plan import PLAN, SearchPlan
from pipeline.tuning.work import ENDED, open_search


def test_the_newest_search_that_has_not_ended_is_taken(
    make_plan: Callable[..., SearchPlan], tmp_path: Path
) -> None:
    assert open_search(tmp_path) is None
    for age, name in enumerate(("newest", "older", "oldest")):
        make_plan().write(tmp_path / "mobilenet" / name)
        os.utime(tmp_path / "mobilenet" / name / PLAN, (1e9 - age, 1e9 - age))
    assert open_search(tmp_path) == tmp_path / "mobilenet" / "newest"
    (tmp_path / "mobilenet" / "newest" / ENDED).touch()
    assert open_search(tmp_path) == tmp_path / "mobilenet" / "older"
    assert open_search(tmp_path / "mobilenet" / "oldest") == tmp_path / "mobilenet" / "oldest"
