"""Code digests change with the code that a module imports, and with nothing else."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from pathlib import Path

import pytest

from knet.base import digests
from knet.base.digests import code_digest, file_digest, git_commit, text_digest

SOURCES = {
    "pipeline/__init__.py": "",
    "knet/training/trainer.py": (
        '"""Trains."""\n'
        "import os\n"
        "from typing import TYPE_CHECKING\n"
        "import pipeline.direct\n"
        "import pipeline.package.submodule as alias\n"
        "from components.node import from_package\n"
        "from pipeline.names import SOMETHING\n"
        "if TYPE_CHECKING:\n"
        "    from pipeline.typed import Something\n"
        "else:\n"
        "    from pipeline import run_instead\n"
        "def run_fn():\n"
        '    """Trains one."""\n'
        "    from pipeline import lazy\n"
    ),
    "pipeline/run_instead.py": "",
    "pipeline/typed.py": "",
    "pipeline/direct.py": "import pipeline.transitive\n",
    "pipeline/transitive.py": "import knet.training.trainer  # a circle\n",
    "pipeline/names.py": "SOMETHING = 1\n",
    "pipeline/lazy.py": "",
    "pipeline/package/__init__.py": "",
    "pipeline/package/neighbour.py": "",
    "pipeline/package/submodule.py": "",
    "components/node/__init__.py": "WORDS = 1\n",
    "components/node/from_package.py": "",
    "pipeline/unrelated.py": "",
    "pipeline/trainings.py": "",
    "os.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return tmp_path


def digests_around_an_edit(tree: Path, name: str) -> tuple[str, str]:
    before = code_digest("knet.training.trainer", root=tree)
    with (tree / name).open("a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    return before, code_digest("knet.training.trainer", root=tree)


@pytest.mark.parametrize(
    "edited",
    [
        "knet/training/trainer.py",
        "pipeline/direct.py",
        "pipeline/transitive.py",
        "pipeline/names.py",
        "pipeline/run_instead.py",
        "pipeline/lazy.py",
        "pipeline/__init__.py",
        "pipeline/package/__init__.py",
        "pipeline/package/submodule.py",
        "components/node/__init__.py",
        "components/node/from_package.py",
    ],
)
def test_code_digest_changes_with_imported_modules(tree: Path, edited: str) -> None:
    before, after = digests_around_an_edit(tree, edited)
    assert before != after


@pytest.mark.parametrize(
    "edited",
    [
        "pipeline/unrelated.py",
        "pipeline/trainings.py",
        "pipeline/package/neighbour.py",
        "pipeline/typed.py",
        "os.py",
    ],
)
def test_code_digest_ignores_other_modules(tree: Path, edited: str) -> None:
    before, after = digests_around_an_edit(tree, edited)
    assert before == after


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os\n", "import os  # a comment\n"),
        ('"""Trains."""', '"""Trains a model."""'),
        ('    """Trains one."""\n', '    """Trains\n\n    one."""\n\n'),
        ("import pipeline.direct\n", "import \\\n    pipeline.direct\n"),
        ("    from pipeline.typed import Something\n", "    from pipeline.typed import Other\n"),
    ],
)
def test_code_digest_ignores_documentation_and_layout(tree: Path, old: str, new: str) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    training = tree / "knet/training/trainer.py"
    text = training.read_text("utf-8")
    assert text.count(old) == 1
    training.write_text(text.replace(old, new), encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) == before


def test_code_digest_covers_strings_that_are_no_docstrings(tree: Path) -> None:
    (tree / "pipeline/direct.py").write_text('"""One."""\nNAME = """One."""\n', encoding="utf-8")
    before = code_digest("knet.training.trainer", root=tree)
    (tree / "pipeline/direct.py").write_text('"""One."""\nNAME = """Two."""\n', encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_code_digest_ignores_only_descriptions_of_settings(tree: Path) -> None:
    setting = 'epochs: int = Field({}, ge=1, description="{}", json_schema_extra={{"unit": "{}"}})\n'
    digests = []
    for values in ((2, "Epochs.", "epochs"), (2, "Most epochs.", "passes"), (3, "Epochs.", "epochs")):
        (tree / "pipeline/direct.py").write_text(setting.format(*values), encoding="utf-8")
        digests.append(code_digest("knet.training.trainer", root=tree))
    assert digests[0] == digests[1] != digests[2]


def test_canonical_tree_is_equal_for_every_python() -> None:
    # ast.dump writes empty lists until Python 3.12, and has type_params from then on.
    tree = ast.parse("def f(a, *, b=None): return f'é{a!r:>{b}}'")
    assert digests._canonical(tree) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a')],kwonlyargs=[arg(arg='b')],"
        "kw_defaults=[Constant()]),body=[Return(value=JoinedStr(values=[Constant(value='\\xe9'),"
        "FormattedValue(value=Name(id='a',ctx=Load()),conversion=114,format_spec=JoinedStr(values=["
        "Constant(value='>'),FormattedValue(value=Name(id='b',ctx=Load()),conversion=-1)]))]))])])"
    )


def test_code_digest_changes_when_module_is_renamed(tree: Path) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    (tree / "pipeline/lazy.py").rename(tree / "pipeline/idle.py")
    training = tree / "knet/training/trainer.py"
    training.write_text(training.read_text("utf-8").replace("lazy", "idle"), encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_code_digest_changes_with_library_version(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    monkeypatch.setattr(digests, "_version", lambda library: "9.9" if library == "keras" else "1.0")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_code_digest_is_independent_of_root(tree: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    before = code_digest("knet.training.trainer", root=tree)
    for name in ("pipeline", "components", "knet"):
        (tree / name).rename(moved / name)
    assert code_digest("knet.training.trainer", root=moved) == before


def test_code_digest_of_missing_module_is_an_error(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"pipeline\.none"):
        code_digest("pipeline.none", root=tree)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("knet.training.trainer", "knet.models.hybrid"),
        ("knet.training.preprocessing", "knet.models.images"),
        ("components.breakhis_example_gen.executor", "knet.data.split"),
        ("components.model_gate.executor", "knet.evaluation.gate"),
    ],
)
def test_code_digest_follows_imports_of_this_project(module: str, imported: str) -> None:
    assert imported in digests._closure(module, digests._ROOT)


def test_code_digest_covers_every_package() -> None:
    """A new package must be added to the list, else edits of it would not rerun nodes."""
    assert {file.parent.name for file in digests._ROOT.glob("*/__init__.py")} == set(digests._PACKAGES)


def test_trainer_digest_excludes_settings_explanations() -> None:
    assert "pipeline.config.explain" not in digests._closure("knet.training.trainer", digests._ROOT)


def test_trainer_digest_excludes_console() -> None:
    """An edit of the console output must not train all models again."""
    assert "pipeline.runners.console" not in digests._closure("knet.training.trainer", digests._ROOT)


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"weights")
    assert file_digest(tmp_path / "weights.h5") == hashlib.sha256(b"weights").hexdigest()


def test_text_digest_depends_on_boundaries() -> None:
    assert (
        len({text_digest("ab", "c"), text_digest("a", "bc"), text_digest("abc"), text_digest("c", "ab")}) == 4
    )
    assert text_digest("ab", "c") == text_digest("ab", "c")


def test_code_digest_rejects_relative_import(tree: Path) -> None:
    (tree / "knet/training/trainer.py").write_text("from . import lazy\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"trainer\.py has a relative import"):
        code_digest("knet.training.trainer", root=tree)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one", "utf-8")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "file"), (*author, "commit", "-q", "-m", "first"), ("tag", "v1")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_git_commit_marks_edited_checkout(checkout: Path) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()
    assert git_commit(checkout) == head
    (checkout / "file").write_text("two", "utf-8")
    assert git_commit(checkout) == f"{head}-dirty"


def test_git_commit_ignores_surrounding_checkout(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert git_commit(checkout / "site-packages") is None


def test_git_commit_outside_checkout_is_that_of_the_image(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_COMMIT", "0123abc")
    assert git_commit(checkout / "site-packages") == "0123abc"
    assert git_commit(checkout) != "0123abc"
    monkeypatch.setenv("KNET_COMMIT", "")
    assert git_commit(checkout / "site-packages") is None


def test_git_commit_without_git_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_commit(checkout) is None
