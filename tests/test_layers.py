"""The layer rule: `pipeline` imports `components` imports `knet`, never back, and no circle between files."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the bottom up: a module imports its own layer's package and the lines above it, and nothing below.
# Packages on one line do not import one another.
LAYERS: list[set[str]] = [
    {"schemas"},
    {"knet.base"},
    {"knet.models", "knet.client"},
    {"knet.data", "knet.training", "knet.runs"},
    {"knet.tuning", "knet.evaluation"},
    {"knet.report"},
    {"knet.serving"},
    {"components"},
    {"pipeline.config"},
    {"pipeline.dag"},
    {"pipeline.preflight"},
    {"pipeline.describe"},
    {"pipeline.runners"},
    {"pipeline.kubeflow"},
    {"pipeline.experiments"},
    {"pipeline.commands"},
]
RANK = {package: rank for rank, packages in enumerate(LAYERS) for package in packages}
PACKAGES = ("knet", "components", "pipeline", "schemas")


def modules(root: Path) -> dict[str, Path]:
    """The file of every module of ours, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> Iterator[tuple[str, int, str]]:
    """Every import of ours by ours, in function bodies and `TYPE_CHECKING` too: module, line, imported."""
    known = modules(root)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    target = full if full in known else node.module
                    if target in known:
                        yield name, node.lineno, target
            elif isinstance(node, ast.Import):
                yield from ((name, node.lineno, alias.name) for alias in node.names if alias.name in known)


def layer(module: str) -> str | None:
    """The package of `LAYERS` that a module belongs to; None for the bare top packages."""
    return max((p for p in RANK if f"{module}.".startswith(f"{p}.")), key=len, default=None)


def violations(root: Path) -> list[str]:
    """A line for each import that goes up or sideways."""
    found = []
    for module, line, target in imports(root):
        importer, imported = layer(module), layer(target)
        if importer is None or imported is None or importer == imported:
            continue
        if RANK[imported] >= RANK[importer]:
            found.append(
                f"{module}, line {line}, imports {target}: {importer} is below or beside {imported}; "
                "move what both need down, or pass it as an argument"
            )
    return found


def circles(root: Path) -> list[str]:
    """The circles of files that import one another, a line each."""
    graph: dict[str, set[str]] = {}
    for module, _, target in imports(root):
        if module != target:
            graph.setdefault(module, set()).add(target)
    found: set[frozenset[str]] = set()
    lines = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            circle = path[path.index(module) :]
            if frozenset(circle) not in found:
                found.add(frozenset(circle))
                lines.append(" -> ".join([*circle, module]))
            return
        if module in done:
            return
        for target in sorted(graph.get(module, ())):
            visit(target, [*path, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return lines


def test_every_module_belongs_to_a_layer() -> None:
    names = [name for name in modules(ROOT) if "." in name or name == "schemas"]
    assert [name for name in names if layer(name) is None] == []


def test_imports_follow_the_layers() -> None:
    assert violations(ROOT) == []


def test_no_files_import_one_another_in_a_circle() -> None:
    assert circles(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        (
            "knet/base/errors.py",
            "from knet.data import catalog",
            "knet.base.errors, line 1, imports knet.data.catalog: knet.base is below or beside knet.data",
        ),
        (
            "knet/models/stain.py",
            "from knet.client import Client",
            "knet.models is below or beside knet.client",
        ),
        (
            "components/model_gate/executor.py",
            "def f():\n    import pipeline.dag",
            "components is below or beside pipeline.dag",
        ),
    ],
)
def test_a_planted_import_is_found(file: str, line: str, message: str, tmp_path: Path) -> None:
    root = copy(tmp_path)
    planted = root / file
    planted.write_text(
        f"{line}\n{planted.read_text('utf-8').replace('from __future__', '# from __future__')}"
    )
    (found,) = violations(root)
    assert message in found


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    root = copy(tmp_path)
    (root / "knet" / "base" / "errors.py").write_text("from knet.base import files\n")
    (root / "knet" / "base" / "files.py").write_text("from knet.base.errors import UserError\n")
    assert circles(root) == ["knet.base.errors -> knet.base.files -> knet.base.errors"]


def copy(folder: Path) -> Path:
    """The Python files of the packages, elsewhere."""
    for path in modules(ROOT).values():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder
