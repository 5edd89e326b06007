"""Fixtures: a fake server with the web page, images for it, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from command_line import knet
from fake_rest_server import THRESHOLD, FakeRest, served
from PIL import Image

from knet.runs.record import RunRecord


@pytest.fixture(scope="session")
def info(make_record: Callable[..., RunRecord]) -> dict[str, Any]:
    """The model card of a model."""
    tree = asdict(make_record().candidates["mobilenet"].info)
    tree["calibration"]["threshold"] = THRESHOLD
    return tree


@pytest.fixture
def rest(info: dict[str, Any]) -> FakeRest:
    """A fake server of a model with a model card."""
    return FakeRest(info)


@pytest.fixture
def url(rest: FakeRest) -> Iterator[str]:
    """URL of the fake server."""
    with served(rest) as address:
        yield address


@pytest.fixture(scope="module")
def chromium(debian_program: Callable[..., Path]) -> Iterator[Browser]:
    """A running browser."""
    with Browser(debian_program("chromium", package="chromium")) as running:
        yield running


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven files: four of two accessions, two of no patient (one is flagged), one that is no image."""
    folder = tmp_path_factory.mktemp("images")
    reds = {
        "SOB_M_DC-14-2523-200-001.png": 240, "SOB_M_DC-14-2523-200-002.png": 225,
        "SOB_B_A-14-22549AB-200-001.png": 30, "SOB_B_A-14-22549G-200-002.png": 110,
        "scan.jpg": 200, "black.png": 0,
    }  # fmt: skip
    generator = np.random.default_rng(0)
    for name, red in reds.items():
        noise = generator.integers(0, 12, (92, 140, 3)) if red else 0
        pixels = np.clip(np.full((92, 140, 3), (red, red * 0.5, red * 0.8)) + noise, 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    (folder / "notes.png").write_text("no image", encoding="utf-8")
    return [folder / name for name in (*reds, "notes.png")]
