"""A module runs when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runners.kubeflow.import_on_use import import_on_use


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The modules of a package that ran."""
    package = tmp_path / "slow_package"
    package.mkdir()
    note = "import builtins; builtins.ran.append(__name__)\n"
    (package / "__init__.py").write_text(f"{note}from slow_package import part\nVALUE = part.VALUE + 1\n")
    (package / "part.py").write_text(f"{note}VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    noted: list[str] = []
    monkeypatch.setattr("builtins.ran", noted, raising=False)
    finders = list(sys.meta_path)
    yield noted
    sys.meta_path[:] = finders
    for name in ("slow_package", "slow_package.part"):
        sys.modules.pop(name, None)


def test_nothing_runs_before_it_is_used(ran: list[str]) -> None:
    module = import_on_use("slow_package")
    assert importlib.import_module("slow_package") is module
    assert not hasattr(module, "__version__") and ran == []
    assert module.VALUE == 2 and ran == ["slow_package", "slow_package.part"]
    assert importlib.import_module("slow_package") is module


def test_a_submodule_makes_its_package_run(ran: list[str]) -> None:
    import_on_use("slow_package")
    importlib.import_module("slow_package.part")
    assert ran == ["slow_package", "slow_package.part"]


def test_submodules_may_be_imported_apart(ran: list[str]) -> None:
    module = import_on_use("slow_package", apart=["part"])
    importlib.import_module("slow_package.part")
    assert ran == ["slow_package.part"]
    assert module.VALUE == 2


def test_what_the_package_imported_is_not_run_again(ran: list[str]) -> None:
    package = import_on_use("slow_package")
    part = importlib.import_module("slow_package.part")
    assert part is package.part and part.__spec__ is not None and part.__spec__.origin == part.__file__


def test_what_a_module_has_not_is_an_error(ran: list[str]) -> None:
    module = import_on_use("slow_package")
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_what_is_imported_stays_as_it_is() -> None:
    assert import_on_use("json") is sys.modules["json"]
