"""Images that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.monitoring.keep_image import keep_image


def test_an_image_is_kept_once_under_its_hash(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    png, jpeg = picture(), picture(kind="JPEG")
    for content, name in ((png, "a"), (png, "a"), (jpeg, "b")):
        keep_image(tmp_path / "kept", content, sha256=name)
    files = {file.name: file for file in (tmp_path / "kept").iterdir()}
    assert {name: file.read_bytes() for name, file in files.items()} == {"a.png": png, "b.jpg": jpeg}
    assert files["a.png"].stat().st_mode & 0o777 == 0o600
