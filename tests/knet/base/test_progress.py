"""Progress bars of downloads."""

from __future__ import annotations

import io

from rich.console import Console

from knet.base.progress import progress_bar


def test_progress_bar_shows_bytes_of_each_step() -> None:
    console = Console(file=io.StringIO(), width=100)
    with progress_bar(console) as progress:
        progress("fetching")(2_000_000, 4_000_000)
        progress("checking")(3, None)
    first, second = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.startswith("fetching") and "2.0/4.0 MB" in first
    assert second.startswith("checking") and "3/? bytes" in second
