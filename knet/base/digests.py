"""Digests of code and files, by which the pipeline cache detects an edit."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_BLOCK = 2**20  # bytes


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the paths and contents of all files below a folder, in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def text_digest(*texts: str) -> str:
    """Return the SHA-256 of a sequence of texts, in hexadecimal; `("ab", "c")` and `("a", "bc")` differ."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("knet", "components", "pipeline", "schemas")  # as in pyproject.toml
# Results of a node depend on the versions of these libraries too.
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


def code_digest(module: str, *, root: Path = _ROOT) -> str:
    """Return the SHA-256 of the code that a module of the project runs, in hexadecimal.

    The digest covers the module, the modules of the project that it imports at any depth (imports inside
    functions included), and the versions of the main libraries. It is computed from syntax trees: comments,
    docstrings, descriptions of settings, formatting and code under `if TYPE_CHECKING` do not change it.

    Args:
        module: Dotted name, such as `knet.training.trainer`.
        root: Folder that holds the project's packages.

    Raises:
        ValueError: There is no such module in the project, or a covered module has a relative import.
        SyntaxError: A covered module is not valid Python.
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
    """The digest of a module's own code, and its imports."""

    digest: str
    imports: frozenset[str]  # dotted names within the project, of modules and of objects in them


def _closure(module: str, root: Path) -> dict[str, _Code]:
    """Return the project's modules that a module imports, at any depth, by name; the module included."""
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


# The text is part of the cache key, since a file may be edited while the process lives.
@functools.cache
def _code(path: Path, text: str) -> _Code:
    tree = _StripDocumentation().visit(ast.parse(text, filename=str(path)))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(
                    f"{path} has a relative import, which its digest cannot follow: name the package"
                )
            # An imported name may itself be a module.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    imports = frozenset(name for name in names if name.partition(".")[0] in _PACKAGES)
    return _Code(hashlib.sha256(_canonical(tree).encode()).hexdigest(), imports)


_DOCUMENTATION = ("description", "json_schema_extra")  # arguments of pydantic's Field


class _StripDocumentation(ast.NodeTransformer):
    """Removes docstrings, descriptions of settings and code under `if TYPE_CHECKING`."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _DOCUMENTATION]
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        return node.orelse if test == "TYPE_CHECKING" else node


def _canonical(value: Any) -> str:
    """Return a syntax tree as text without positions, equal (unlike `ast.dump`) for every Python version."""
    if isinstance(value, ast.AST):
        # Later versions of Python add fields, which are empty in code that an earlier version accepts.
        fields = [(name, field) for name, field in ast.iter_fields(value) if field not in (None, [])]
        return f"{type(value).__name__}({','.join(f'{name}={_canonical(field)}' for name, field in fields)})"
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    return ascii(value)


@functools.cache
def _version(library: str) -> str:
    return metadata.version(library)


def package_digest(module: str) -> str:
    """Return the SHA-256 of the Python files of the top package that a module is in, in hexadecimal.

    Args:
        module: Dotted name of a module outside the project, which is not imported.

    Raises:
        ModuleNotFoundError: There is no such package.
    """
    name = module.partition(".")[0]
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"no module {name}", name=name)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = {str(path.relative_to(folder)): path for folder in folders for path in folder.rglob("*.py")}
    if not folders and spec.origin:
        files[name] = Path(spec.origin)
    return text_digest(*(f"{file} {file_digest(path)}" for file, path in sorted(files.items())))


def git_commit(root: Path = _ROOT) -> str | None:
    """Return the commit of a Git checkout, with the suffix `-dirty` where tracked files differ from it.

    Args:
        root: Top folder of the checkout.

    Returns:
        The full hash. Outside a checkout, as in an installed package, the value of `KNET_COMMIT`, which the
        container image sets. None without that variable, or without git.
    """
    if not (root / ".git").exists():
        return os.environ.get("KNET_COMMIT") or None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
