"""Stand-ins for packages that take seconds to import, and that an executor may never use."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def import_on_use(name: str, *, apart: Collection[str] = ()) -> ModuleType:
    """Has a package run when something of it is used, and not when it is imported.

    Nothing is done where it was imported already. With the first import of a submodule the package runs too.

    Args:
        name: of the package; what it is in must be imported, or such a stand-in.
        apart: submodules that do not make it run.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"there is no module {name}"
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _OnUse
    sys.modules[name] = module
    sys.meta_path.insert(0, _Submodules(name, apart))
    return module


class _OnUse(ModuleType):
    """A module whose code runs when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        # What looks a module over, such as `inspect`, asks for names with underscores, and uses nothing.
        if name.startswith("__") or not _run(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)


def _run(module: ModuleType) -> bool:
    """Runs a stand-in's code; says whether it had not run yet."""
    if "_runs" in vars(module):
        return False
    vars(module)["_runs"] = True
    assert module.__spec__ is not None and module.__spec__.loader is not None
    module.__spec__.loader.exec_module(module)
    return True


class _Submodules(MetaPathFinder):
    """Runs a package before its submodules, and hands out those that it imports itself."""

    def __init__(self, package: str, apart: Collection[str]) -> None:
        self._package = package
        self._apart = apart

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, first = fullname.rpartition(".")
        if package != self._package or first in self._apart or not _run(sys.modules[package]):
            return None
        found = sys.modules.get(fullname)
        if found is None:
            return None
        spec = ModuleSpec(fullname, _Loaded(found))
        found.__spec__ = spec  # or Python would take the other one, and run the module again
        return spec


class _Loaded(Loader):
    """Leaves a module as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
