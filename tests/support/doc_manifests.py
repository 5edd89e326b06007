"""Kubernetes objects in the code blocks of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = (*(_ROOT / "docs").glob("*.md"), *(_ROOT / "k8s").rglob("*.md"))
_BLOCKS = (r"^```yaml\n(.*?)^```", r"^kubectl .*apply -f - <<'?END'?\n(.*?)^END$")


def doc_manifests() -> dict[str, list[dict[str, Any]]]:
    """Return the objects by page: in YAML blocks, and those that commands send to a cluster."""
    found: dict[str, list[dict[str, Any]]] = {}
    for page in sorted(_PAGES):
        text = page.read_text("utf-8")
        blocks = [block for pattern in _BLOCKS for block in re.findall(pattern, text, re.M | re.S)]
        objects = [thing for block in blocks for thing in yaml.safe_load_all(block)]
        manifests = [thing for thing in objects if {"apiVersion", "kind"} <= set(thing)]
        if manifests:
            found[page.relative_to(_ROOT).as_posix()] = manifests
    return found
