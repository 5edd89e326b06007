"""A damaged image fails a run in ExampleGen, before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.data.sample_data import write_sample_data

pytestmark = pytest.mark.e2e


def test_damaged_image_fails_example_gen_and_is_named(make_knet: Callable[..., Any], tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, patients=12, width=48, height=32)
    image = sorted(root.rglob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:200])
    finished = make_knet().run(data=root)
    assert finished.code == 2
    assert "BreakHisExampleGen: 1 of 56 files in" in finished.stderr
    assert f"{image.name}: truncated or damaged" in finished.stderr
    assert "data.max_invalid_fraction" in finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "55 images ingested" in finished.stdout and "1 quarantined" in finished.stdout
    states = finished.states()
    assert states.pop("BreakHisExampleGen") == "failed"
    assert not set(states) - {"ImportSchemaGen"}
    assert not list((finished.output / "artifacts" / "BreakHisExampleGen").rglob("*.gz"))
