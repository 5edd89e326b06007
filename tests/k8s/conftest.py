"""The manifests as kustomize renders them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("overlays/dev", "overlays/gpu", "overlays/production")
FOLDERS = (*OVERLAYS, "tuner", "flink")  # what is applied, each


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Finds a program of .tools, which `make setup` fills."""

    def find(name: str) -> Path:
        path = ROOT / ".tools" / "bin" / name
        if not path.is_file():
            pytest.skip(f"{name} is not installed: make setup")
        return path

    return find


@pytest.fixture(scope="session")
def rendered(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By folder below k8s, the file of everything that `kubectl apply -k` would send."""
    files = {}
    for folder in FOLDERS:
        files[folder] = tmp_path_factory.mktemp("rendered") / f"{folder.replace('/', '-')}.yaml"
        with files[folder].open("w", encoding="utf-8") as stream:
            subprocess.run(
                [program("kubectl"), "kustomize", ROOT / "k8s" / folder], stdout=stream, check=True
            )
    return files


@pytest.fixture(scope="session")
def objects(rendered: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """By folder, the objects."""
    return {folder: list(yaml.safe_load_all(file.read_text("utf-8"))) for folder, file in rendered.items()}
