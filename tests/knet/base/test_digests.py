"""The digest sees an edit of everything that a module imports, and of nothing else."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from pathlib import Path

import pytest

from knet.base import digests
from knet.base.digests import code_digest, commit, file_digest, text_digest

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
def test_an_edit_of_what_is_imported_changes_the_digest(tree: Path, edited: str) -> None:
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
def test_an_edit_of_anything_else_does_not(tree: Path, edited: str) -> None:
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
def test_code_digest_ignores_what_does_not_run(tree: Path, old: str, new: str) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    training = tree / "knet/training/trainer.py"
    text = training.read_text("utf-8")
    assert text.count(old) == 1
    training.write_text(text.replace(old, new), encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) == before


def test_code_digest_sees_a_text_that_is_no_docstring(tree: Path) -> None:
    (tree / "pipeline/direct.py").write_text('"""One."""\nNAME = """One."""\n', encoding="utf-8")
    before = code_digest("knet.training.trainer", root=tree)
    (tree / "pipeline/direct.py").write_text('"""One."""\nNAME = """Two."""\n', encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_code_digest_ignores_descriptions_of_settings_alone(tree: Path) -> None:
    setting = 'epochs: int = Field({}, ge=1, description="{}", json_schema_extra={{"unit": "{}"}})\n'
    digests = []
    for values in ((2, "Epochs.", "epochs"), (2, "Most epochs.", "passes"), (3, "Epochs.", "epochs")):
        (tree / "pipeline/direct.py").write_text(setting.format(*values), encoding="utf-8")
        digests.append(code_digest("knet.training.trainer", root=tree))
    assert digests[0] == digests[1] != digests[2]


def test_canonical_tree_is_the_same_for_every_python() -> None:
    # ast.dump writes empty lists until Python 3.12, and has type_params from then on.
    tree = ast.parse("def f(a, *, b=None): return f'é{a!r:>{b}}'")
    assert digests._canonical(tree) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a')],kwonlyargs=[arg(arg='b')],"
        "kw_defaults=[Constant()]),body=[Return(value=JoinedStr(values=[Constant(value='\\xe9'),"
        "FormattedValue(value=Name(id='a',ctx=Load()),conversion=114,format_spec=JoinedStr(values=["
        "Constant(value='>'),FormattedValue(value=Name(id='b',ctx=Load()),conversion=-1)]))]))])])"
    )


def test_a_module_that_is_renamed_changes_the_digest(tree: Path) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    (tree / "pipeline/lazy.py").rename(tree / "pipeline/idle.py")
    training = tree / "knet/training/trainer.py"
    training.write_text(training.read_text("utf-8").replace("lazy", "idle"), encoding="utf-8")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_a_library_s_version_changes_the_digest(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("knet.training.trainer", root=tree)
    monkeypatch.setattr(digests, "_version", lambda library: "9.9" if library == "keras" else "1.0")
    assert code_digest("knet.training.trainer", root=tree) != before


def test_the_digest_does_not_depend_on_where_the_tree_is(tree: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    before = code_digest("knet.training.trainer", root=tree)
    for name in ("pipeline", "components", "knet"):
        (tree / name).rename(moved / name)
    assert code_digest("knet.training.trainer", root=moved) == before


def test_a_module_that_does_not_exist_is_refused(tree: Path) -> None:
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
def test_of_our_own_modules(module: str, imported: str) -> None:
    assert imported in digests._closure(module, digests._ROOT)


def test_digest_knows_every_package_of_ours() -> None:
    """Else what a node runs of a new one would be no part of its digest."""
    assert {file.parent.name for file in digests._ROOT.glob("*/__init__.py")} == set(digests._OURS)


def test_training_does_not_depend_on_explanations_of_settings() -> None:
    assert "pipeline.config.explain" not in digests._closure("knet.training.trainer", digests._ROOT)


def test_training_does_not_depend_on_the_screen() -> None:
    """Else an edit of how a run is shown would train everything anew."""
    assert "pipeline.runners.console" not in digests._closure("knet.training.trainer", digests._ROOT)


def test_a_file_s_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"weights")
    assert file_digest(tmp_path / "weights.h5") == hashlib.sha256(b"weights").hexdigest()


def test_a_digest_of_texts_depends_on_where_they_end() -> None:
    assert (
        len({text_digest("ab", "c"), text_digest("a", "bc"), text_digest("abc"), text_digest("c", "ab")}) == 4
    )
    assert text_digest("ab", "c") == text_digest("ab", "c")


def test_a_relative_import_is_refused(tree: Path) -> None:
    (tree / "knet/training/trainer.py").write_text("from . import lazy\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"trainer\.py imports relatively"):
        code_digest("knet.training.trainer", root=tree)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one", "utf-8")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "file"), (*author, "commit", "-q", "-m", "first"), ("tag", "v1")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_and_an_edited_one(checkout: Path) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()
    assert commit(checkout) == head
    (checkout / "file").write_text("two", "utf-8")
    assert commit(checkout) == f"{head}-dirty"


def test_an_installed_package_within_another_checkout_has_none(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert commit(checkout / "site-packages") is None


def test_an_installed_package_has_the_commit_that_its_image_was_built_from(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_COMMIT", "0123abc")
    assert commit(checkout / "site-packages") == "0123abc"
    assert commit(checkout) != "0123abc"
    monkeypatch.setenv("KNET_COMMIT", "")
    assert commit(checkout / "site-packages") is None


def test_without_git_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit(checkout) is None
