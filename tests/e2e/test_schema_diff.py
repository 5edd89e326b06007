"""`knet schema diff` of a folder of images that were not in a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

NAMES = [f"SOB_{'B_A' if patient < 4 else 'M_DC'}-14-{patient}-40-001.png" for patient in range(8)]


def test_schema_diff_of_a_folder_runs_only_ingestion(
    make_knet: Callable[..., Any], breakhis: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    data = breakhis(NAMES[0], content=picture(size=(5000, 40)))
    for number, name in enumerate(NAMES[1:]):  # distinct, since equal pixels in two splits fail a run
        breakhis(name, content=picture(size=(40, 40), colour=(number, 0, 0)))
    finished = make_knet().run(data=data, command="schema diff")
    assert (finished.code, finished.stderr) == (1, ""), finished.stdout
    assert set(finished.states()) == {"BreakHisExampleGen", "ImportSchemaGen", "StatisticsGen"}
    assert finished.stdout.endswith("feature image/width\n  int_domain.max: 4096 -> 5000\n")
    assert finished.connections == []
