"""The node that looks at the data before ExampleGen does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.runners.kubeflow.fingerprint_node import main

_NAMES = ("SOB_B_A-14-22549AB-40-001.png", "SOB_M_DC-14-2523-40-001.png")


def _fingerprint(source: Path, output: Path) -> str:
    flags = [f"--data_source={source}", "--data_root=", "--class=benign", "--class=malignant"]
    main([*flags, f"--output={output}"])
    return output.read_text("utf-8")


def test_the_parameter_changes_with_the_data_alone(
    breakhis: Callable[..., Path], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    source = breakhis(*_NAMES)
    first = _fingerprint(source, tmp_path / "run" / "fingerprint")
    assert len(first) == 64
    assert _fingerprint(source, tmp_path / "other") == first
    breakhis(_NAMES[0], content=picture(colour=255))
    assert _fingerprint(source, tmp_path / "third") != first
