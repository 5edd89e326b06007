"""A module runs when it is used."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.runners.kubeflow.import_on_use import import_on_use


def test_nothing_runs_before_it_is_used(ran: list[str]) -> None:
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    assert not hasattr(module, "__wrapped__") and ran == []
    assert module.VALUE == 2 and ran == ["slow_package", "slow_package.part"]
    assert importlib.import_module("slow_package") is module and type(module) is ModuleType


def test_asked_for_twice_it_is_put_off_once(ran: list[str]) -> None:
    import_on_use("slow_package", apart=["part"])
    import_on_use("slow_package", apart=["part"])
    assert importlib.import_module("slow_package").VALUE == 2
    assert ran == ["slow_package", "slow_package.part"]


def test_a_submodule_makes_its_package_run(ran: list[str]) -> None:
    import_on_use("slow_package")
    importlib.import_module("slow_package.part")
    assert ran == ["slow_package", "slow_package.part"]


@pytest.mark.parametrize("statement", ["import slow_package.part", "from slow_package import part"])
def test_submodules_may_be_imported_apart(statement: str, ran: list[str]) -> None:
    import_on_use("slow_package", apart=["part"])
    exec(statement, {})
    assert ran == ["slow_package.part"]
    assert importlib.import_module("slow_package").VALUE == 2


def test_a_submodule_may_be_put_off_alone(ran: list[str]) -> None:
    import_on_use("slow_package.part")
    package = importlib.import_module("slow_package")
    assert ran == ["slow_package", "slow_package.part"] and package.VALUE == 2


def test_what_the_package_imported_is_not_run_again(ran: list[str]) -> None:
    import_on_use("slow_package")
    part = importlib.import_module("slow_package.part")
    package = sys.modules["slow_package"]
    assert part is package.part and part.__spec__ is not None and part.__spec__.origin == part.__file__


def test_what_is_known_does_not_make_it_run(ran: list[str]) -> None:
    import_on_use("slow_package", known={"VALUE": 7, "__version__": "1"})
    module = importlib.import_module("slow_package")
    assert (module.VALUE, module.__version__, ran) == (7, "1", [])
    assert module.part and module.VALUE == 2


def test_a_star_takes_all_names(ran: list[str]) -> None:
    names: dict[str, object] = {}
    import_on_use("slow_package")
    exec("from slow_package import *", names)
    assert names["VALUE"] == 2 and ran


def test_a_star_takes_no_names_where_none_are_known(ran: list[str]) -> None:
    names: dict[str, object] = {}
    import_on_use("slow_package", known={"__all__": ()})
    exec("from slow_package import *", names)
    assert "VALUE" not in names and ran == []
    assert importlib.import_module("slow_package").VALUE == 2


def test_what_a_module_has_not_is_an_error(ran: list[str]) -> None:
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
    assert ran


def test_where_it_fails_each_use_does(ran: list[str], tmp_path: Path) -> None:
    part = tmp_path / "slow_package" / "part.py"
    works = part.read_text()
    part.write_text("raise OSError('no disk')\n")
    init = part.with_name("__init__.py")
    init.write_text("EARLY = 1\n" + init.read_text())
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    for name in ("EARLY", "VALUE", "EARLY"):
        with pytest.raises(OSError, match="no disk"):
            getattr(module, name)
    part.write_text(works)
    importlib.invalidate_caches()
    assert module.VALUE == 2


def test_other_threads_wait_until_it_is_whole(ran: list[str], tmp_path: Path) -> None:
    init = tmp_path / "slow_package" / "__init__.py"
    init.write_text("import time; time.sleep(0.3)\n" + init.read_text())
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    together = threading.Barrier(4)

    def use(_: int) -> int:
        together.wait()
        value: int = module.VALUE
        return value

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))) == [2] * 4
    assert ran == ["slow_package", "slow_package.part"]


def test_threads_that_import_in_a_circle_do_not_wait_for_ever(ran: list[str], tmp_path: Path) -> None:
    """One uses the package, which imports a part; another imports the part, which makes the package run."""
    init = tmp_path / "slow_package" / "__init__.py"
    init.write_text("import time; time.sleep(0.3)\n" + init.read_text())
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    with ThreadPoolExecutor(2) as pool:
        using = pool.submit(lambda: module.VALUE)
        time.sleep(0.1)
        importing = pool.submit(importlib.import_module, "slow_package.part")
        assert using.result(timeout=10) == 2
        assert importing.result(timeout=10) is module.part
    assert ran.count("slow_package.part") == 1


def test_it_is_pickled_by_its_name(ran: list[str]) -> None:
    import_on_use("slow_package")
    module = importlib.import_module("slow_package")
    assert pickle.loads(pickle.dumps(module)) is module and ran == []


def test_what_is_not_installed_is_not_found() -> None:
    before = list(sys.meta_path)
    import_on_use("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        importlib.import_module("no_such_package")
    sys.meta_path[:] = before


def test_what_is_imported_stays_as_it_is() -> None:
    before = list(sys.meta_path)
    import_on_use("json")
    assert sys.meta_path == before
