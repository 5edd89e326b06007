"""Digests of code and files, which make the cache notice an edit."""

from __future__ import annotations

import ast
import hashlib
import json
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_OURS = ("pipeline", "components", "schemas", "serving")
_BLOCK = 2**20
# What a node computes depends on these too.
_LIBRARIES = (
    "apache-beam",
    "keras",
    "keras-tuner",
    "numpy",
    "pillow",
    "scikit-learn",
    "scipy",
    "tensorflow",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "tfx",
    "tfx-bsl",
)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """The SHA-256 of the paths and contents of all files below a folder, in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def text_digest(*texts: str) -> str:
    """The SHA-256 of several texts, in hexadecimal; it depends on where one ends and the next begins."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def code_digest(module: str, *, root: Path = _ROOT) -> str:
    """The SHA-256 of a module of ours with every module of ours that it imports, at any depth.

    Imports inside functions count. The versions of the main libraries are part of it.

    Args:
        module: dotted name, such as `pipeline.training`.
        root: the folder that holds our packages.

    Raises:
        ValueError: there is no such module of ours, or one of them imports relatively.
    """
    if _source(module, root) is None:
        raise ValueError(f"no module {module} below {root}")
    digest = hashlib.sha256()
    for path in sorted(_closure(module, root)):
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_digest(path)}\n".encode())
    for library in _LIBRARIES:
        digest.update(f"{library}=={metadata.version(library)}\n".encode())
    return digest.hexdigest()


def _closure(module: str, root: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _source(waiting.pop(), root)
        if path is not None and path not in found:
            found.add(path)
            waiting += _imports(path)
    return found


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path} imports relatively, which its digest could not follow")
            # What is imported may itself be a module.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.partition(".")[0] in _OURS]


def _source(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
