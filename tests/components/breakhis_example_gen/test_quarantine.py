"""When unusable files end a run, and what is said of them."""

from __future__ import annotations

import pytest

from components.breakhis_example_gen.quarantine import (
    MAX_BYTES,
    Quarantined,
    UnusableError,
    check_share,
    check_size,
)
from pipeline.errors import UserError

BAD = [Quarantined(f"{number}.png", "zero bytes") for number in range(5)]


@pytest.mark.parametrize("max_share", [0.0, 0.04])
def test_too_large_a_share_names_the_files_reasons_and_remedy(max_share: float) -> None:
    with pytest.raises(UserError) as caught:
        check_share(BAD, images=95, max_share=max_share, where="/data")
    lines = str(caught.value).splitlines()
    assert lines[0] == "5 of 100 files in /data cannot be used:"
    assert lines[1:6] == [f"  {number}.png: zero bytes" for number in range(5)]
    assert lines[6].startswith("the log has all of them; mend or remove them, or allow a larger share than ")
    assert lines[6].endswith(f"data.max_invalid_fraction={max_share:g}")


def test_a_share_as_large_as_allowed_is_allowed() -> None:
    check_share(BAD, images=95, max_share=0.05, where="/data")


def test_no_unusable_file_is_always_allowed() -> None:
    check_share([], images=0, max_share=0.0, where="/data")


def test_a_file_that_is_larger_than_any_image_is_refused() -> None:
    check_size(MAX_BYTES)
    with pytest.raises(UnusableError, match="too large: 268435457 bytes, at most 268435456"):
        check_size(MAX_BYTES + 1)
