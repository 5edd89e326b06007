"""Feature maps are written whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.dataset import TransformedSplit
from pipeline.feature_cache import write_feature_maps as module
from pipeline.feature_cache.write_feature_maps import FeatureRangeError, write_feature_maps


def test_nothing_but_the_file_is_left(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    write_feature_maps(split, make_frozen(), tmp_path / "new" / "maps", batch_size=3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["maps"]


def test_what_fails_half_way_leaves_nothing(
    split: TransformedSplit,
    make_frozen: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, calls = module._record, []

    def stumble(*arguments: Any) -> bytes:
        calls.append(arguments)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(module, "_record", stumble)
    with pytest.raises(KeyboardInterrupt):
        write_feature_maps(split, make_frozen(), tmp_path / "maps", batch_size=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", [1000, 1e-9])
def test_values_that_float16_cannot_hold_are_refused(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path, scale: float
) -> None:
    with pytest.raises(FeatureRangeError, match="too large or too small for float16"):
        write_feature_maps(split, make_frozen(scale=scale), tmp_path / "maps", batch_size=3)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    for name, age in (("old.tmp", 25), ("young.tmp", 1)):
        (tmp_path / name).touch()
        then = time.time() - age * 60 * 60
        os.utime(tmp_path / name, (then, then))
    write_feature_maps(split, make_frozen(), tmp_path / "maps", batch_size=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "young.tmp"]
