"""Documented examples of clients and `knet predict` work."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from fake_model_server import FakeModelServer

from pipeline.commands import predict

_REPOSITORY = Path(__file__).resolve().parents[3]


def blocks(file: str, language: str) -> list[str]:
    text = (_REPOSITORY / file).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


@pytest.mark.parametrize("file", ["README.md", "docs/serving.md"])
def test_documented_examples_run(
    file: str,
    fake: FakeModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, score in {"image.png": 0.0625, "folder/P1/a.png": 0.25, "folder/P1/b.png": 0.875}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(str(score))
    names: dict[str, object] = {}
    shown = [block for block in blocks(file, "python") if "knet.client" in block]
    assert shown
    for block in shown:
        exec(block.replace("localhost:8500", fake.address), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["benign 0.0625 7", "flagged as unreliable: blurred noisy"]
    if "score" in names:
        assert asyncio.run(names["score"]([b"0.5"])) == [0.5]  # type: ignore[operator]
        assert printed[2:] == ["P1 malignant 0.5625 2 0"]


def test_documented_predict_commands_parse() -> None:
    shown = "\n".join(blocks("docs/serving.md", "sh")) + "\n".join(blocks("README.md", "sh"))
    lines = re.findall(r"knet (predict .*?)(?:#|$)", shown, flags=re.M)
    assert len(lines) > 5
    for line in lines:
        name, *arguments = shlex.split(line)
        assert predict.command.make_context(name, arguments).params["images"]
