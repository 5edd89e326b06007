"""Digests of code and files, which make the cache notice an edit."""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import json
import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("knet", "components", "pipeline", "schemas")  # as in pyproject.toml
_BLOCK = 2**20
_DESCRIPTIVE = ("description", "json_schema_extra")  # arguments of pydantic's Field
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
    """The SHA-256 of what a module of ours runs: itself and all modules of ours it imports, at any depth.

    It is of syntax trees: comments, docstrings, descriptions of settings, layout and what only a type checker
    reads are no part of it.
    Imports inside functions count. The versions of the main libraries are part of it.

    Args:
        module: dotted name, such as `knet.training.trainer`.
        root: the folder that holds our packages.

    Raises:
        ValueError: there is no such module of ours, or one of them imports relatively.
        SyntaxError: one of them is no Python.
    """
    if _source(module, root) is None:
        raise ValueError(f"no module {module} below {root}")
    digest = hashlib.sha256()
    for name, code in sorted(_closure(module, root).items()):
        digest.update(f"{name}\0{code.digest}\n".encode())
    for library in _LIBRARIES:
        digest.update(f"{library}=={_version(library)}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Code:
    """What a module runs."""

    digest: str
    imports: frozenset[str]  # names of ours: of modules, and of what is in them


def _closure(module: str, root: Path) -> dict[str, _Code]:
    """The modules of ours that run when one does, by name."""
    found: dict[str, _Code] = {}
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        # Importing a.b.c runs a and a.b too.
        names = set(itertools.accumulate(waiting.pop().split("."), "{}.{}".format)) - seen
        seen |= names
        for name in names:
            path = _source(name, root)
            if path is not None:
                found[name] = _code(path, path.read_text(encoding="utf-8"))
                waiting |= found[name].imports
    return found


def _source(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


# By the text too, which an edit changes while the process lives.
@functools.cache
def _code(path: Path, text: str) -> _Code:
    tree = _OnlyWhatRuns().visit(ast.parse(text, filename=str(path)))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path} imports relatively, which its digest could not follow")
            # What is imported may itself be a module.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    ours = frozenset(name for name in names if name.partition(".")[0] in _OURS)
    return _Code(hashlib.sha256(_canonical(tree).encode()).hexdigest(), ours)


class _OnlyWhatRuns(ast.NodeTransformer):
    """Removes docstrings, descriptions of settings and what stands under `if TYPE_CHECKING`."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _DESCRIPTIVE]
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        return node.orelse if test == "TYPE_CHECKING" else node


def _canonical(value: Any) -> str:
    """A syntax tree as text without positions, the same for every Python, as that of `ast.dump` is not."""
    if isinstance(value, ast.AST):
        # Later versions add fields, which are empty where the text is one for an earlier version.
        fields = [(name, field) for name, field in ast.iter_fields(value) if field not in (None, [])]
        return f"{type(value).__name__}({','.join(f'{name}={_canonical(field)}' for name, field in fields)})"
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    return ascii(value)


@functools.cache
def _version(library: str) -> str:
    return metadata.version(library)


def commit(root: Path = _ROOT) -> str | None:
    """The commit of a checkout, with `-dirty` behind it where tracked files differ from it.

    Args:
        root: its folder.

    Returns:
        Where the folder is no checkout, as in an installed package, what KNET_COMMIT says, which the image
        sets; None without it, or without git.
    """
    if not (root / ".git").exists():
        return os.environ.get("KNET_COMMIT") or None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
