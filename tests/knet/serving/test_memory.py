"""Tests of the calculation of a server's memory."""

from __future__ import annotations

from pathlib import Path

from knet.base.schema_names import MAX_PIXELS
from knet.serving.memory import BYTES_PER_PIXEL, peak_bytes
from knet.serving.models_config import Batching

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "serving.md"


def test_peak_has_versions_and_an_image_of_each_thread() -> None:
    batching = Batching(num_batch_threads=3)
    peak = peak_bytes(1000, 100, versions=2, max_pixels=10, batching=batching)
    assert peak == 1000 + 100 + 3 * 10 * BYTES_PER_PIXEL


def test_page_has_the_memory_of_a_pixel_and_of_the_largest_image() -> None:
    text = " ".join(_PAGE.read_text("utf-8").split())
    assert f"× {BYTES_PER_PIXEL} bytes" in text
    assert f"{MAX_PIXELS // 10**6} million pixels take {MAX_PIXELS * BYTES_PER_PIXEL / 2**20:.0f} MiB" in text
