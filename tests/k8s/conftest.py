"""Fixtures of the manifest tests: manifests rendered by kustomize."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("overlays/dev", "overlays/gpu", "overlays/production")
FOLDERS = (*OVERLAYS, "overlays/kserve", "tuner", "flink")  # what is applied, each


@pytest.fixture(scope="session")
def rendered(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Render each folder below k8s to a file with the objects that `kubectl apply -k` would send."""
    files = {}
    for folder in FOLDERS:
        files[folder] = tmp_path_factory.mktemp("rendered") / f"{folder.replace('/', '-')}.yaml"
        with files[folder].open("w", encoding="utf-8") as stream:
            subprocess.run([tool("kubectl"), "kustomize", ROOT / "k8s" / folder], stdout=stream, check=True)
    return files


@pytest.fixture(scope="session")
def objects(rendered: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """Return the rendered objects by folder."""
    return {folder: list(yaml.safe_load_all(file.read_text("utf-8"))) for folder, file in rendered.items()}
