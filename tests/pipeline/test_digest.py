"""The digest sees an edit of everything that a module imports, and of nothing else."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import pytest

from pipeline import digest
from pipeline.digest import code_digest, file_digest, text_digest

SOURCES = {
    "pipeline/training.py": (
        "import os\n"
        "import pipeline.direct\n"
        "import pipeline.package.submodule as alias\n"
        "from components.node import from_package\n"
        "from pipeline.names import SOMETHING\n"
        "def run_fn():\n"
        "    from pipeline import lazy\n"
    ),
    "pipeline/direct.py": "import pipeline.transitive\n",
    "pipeline/transitive.py": "import pipeline.training  # a circle\n",
    "pipeline/names.py": "SOMETHING = 1\n",
    "pipeline/lazy.py": "",
    "pipeline/package/__init__.py": "",
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
    before = code_digest("pipeline.training", root=tree)
    with (tree / name).open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    return before, code_digest("pipeline.training", root=tree)


@pytest.mark.parametrize(
    "edited",
    [
        "pipeline/training.py",
        "pipeline/direct.py",
        "pipeline/transitive.py",
        "pipeline/names.py",
        "pipeline/lazy.py",
        "pipeline/package/submodule.py",
        "components/node/__init__.py",
        "components/node/from_package.py",
    ],
)
def test_an_edit_of_what_is_imported_changes_the_digest(tree: Path, edited: str) -> None:
    before, after = digests_around_an_edit(tree, edited)
    assert before != after


@pytest.mark.parametrize("edited", ["pipeline/unrelated.py", "pipeline/trainings.py", "os.py"])
def test_an_edit_of_anything_else_does_not(tree: Path, edited: str) -> None:
    before, after = digests_around_an_edit(tree, edited)
    assert before == after


def test_a_module_that_is_renamed_changes_the_digest(tree: Path) -> None:
    before = code_digest("pipeline.training", root=tree)
    (tree / "pipeline/lazy.py").rename(tree / "pipeline/idle.py")
    training = tree / "pipeline/training.py"
    training.write_text(training.read_text("utf-8").replace("lazy", "idle"), encoding="utf-8")
    assert code_digest("pipeline.training", root=tree) != before


def test_a_library_s_version_changes_the_digest(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("pipeline.training", root=tree)
    monkeypatch.setattr(metadata, "version", lambda library: "9.9" if library == "keras" else "1.0")
    assert code_digest("pipeline.training", root=tree) != before


def test_the_digest_does_not_depend_on_where_the_tree_is(tree: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    before = code_digest("pipeline.training", root=tree)
    for name in ("pipeline", "components"):
        (tree / name).rename(moved / name)
    assert code_digest("pipeline.training", root=moved) == before


def test_a_module_that_does_not_exist_is_refused(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"pipeline\.none"):
        code_digest("pipeline.none", root=tree)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("pipeline.training", "pipeline/models/raster_tokens.py"),
        ("pipeline.preprocessing", "pipeline/models/decode_image.py"),
        ("components.breakhis_example_gen.executor", "components/breakhis_example_gen/splits/make_split.py"),
        ("components.model_gate.executor", "components/model_gate/rules.py"),
    ],
)
def test_of_our_own_modules(module: str, imported: str) -> None:
    root = Path(digest.__file__).parents[1]
    assert root / imported in digest._closure(module, root)


def test_training_does_not_depend_on_the_screen() -> None:
    """Else an edit of how a run is shown would train everything anew."""
    root = Path(digest.__file__).parents[1]
    assert root / "pipeline/runners/screen.py" not in digest._closure("pipeline.training", root)


def test_a_file_s_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"weights")
    assert file_digest(tmp_path / "weights.h5") == hashlib.sha256(b"weights").hexdigest()


def test_a_digest_of_texts_depends_on_where_they_end() -> None:
    assert (
        len({text_digest("ab", "c"), text_digest("a", "bc"), text_digest("abc"), text_digest("c", "ab")}) == 4
    )
    assert text_digest("ab", "c") == text_digest("ab", "c")


def test_a_relative_import_is_refused(tree: Path) -> None:
    (tree / "pipeline/training.py").write_text("from . import lazy\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.py imports relatively"):
        code_digest("pipeline.training", root=tree)
