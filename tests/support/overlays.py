"""Copies of the manifests, in which a test edits an overlay like the owner of a cluster does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("dev", "gpu", "production")


def copy_manifests(root: Path) -> None:
    """Copy the manifests below a folder, which stands for the root of the repository."""
    for folder in ("k8s", "knet/serving/config"):
        shutil.copytree(
            ROOT / folder, root / folder, ignore=shutil.ignore_patterns("mine"), dirs_exist_ok=True
        )


def copy_overlay(overlay: str, root: Path, edit: Callable[[str], str]) -> Path:
    """Copy the manifests and one overlay to `k8s/overlays/mine`, and edit its kustomization.

    Args:
        overlay: name of the overlay.
        root: folder of the copy, which stands for the root of the repository.
        edit: returns the new text of the kustomization.

    Returns:
        The folder of the copied overlay.
    """
    copy_manifests(root)
    mine = root / "k8s/overlays/mine"
    shutil.copytree(ROOT / "k8s/overlays" / overlay, mine, dirs_exist_ok=True)
    file = mine / "kustomization.yaml"
    before = file.read_text("utf-8")
    file.write_text(edit(before), "utf-8")
    assert file.read_text("utf-8") != before
    return mine
