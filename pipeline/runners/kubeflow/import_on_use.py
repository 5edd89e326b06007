"""Stand-ins for modules that take seconds to import, and that an executor may never use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from pipeline.runners.kubeflow.import_without_collecting import import_without_collecting
from pipeline.runners.kubeflow.wrapping import WrappingLoader, wrapped

# Names with underscores but these are asked for by what looks a module over, as `inspect`, and uses nothing.
_USED: Final = ("__all__", "__version__")
_STATE: Final = "_on_use"  # the attribute of a stand-in that holds it
# Python's own lock of modules: of threads that import in a circle it stops none for ever.
_bootstrap: Any = importlib.import_module("importlib._bootstrap")
_imp: Any = importlib.import_module("_imp")


def import_on_use(name: str, *, apart: Collection[str] = (), known: Mapping[str, Any] | None = None) -> None:
    """Has a module run when something of it is used, and not when it is imported.

    From then on it is an ordinary module, with what was known of it beside what it defines. Other threads
    that use it meanwhile wait, but for a circle of imports, in which a thread finds it half done, as always;
    where it fails, each use fails alike. Nothing is done where it was imported already. With the first import
    of a submodule a package runs too.

    Args:
        name: of the module or package; it need not be installed.
        apart: submodules that do not make it run.
        known: what may be asked for without making it run. Of a module with `__all__` here, `import *` takes
            these names and does not make it run.
    """
    finder = _Finder(_Plan(name, tuple(apart), known or {}))
    if name not in sys.modules and finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


@dataclass(frozen=True)
class _Plan:
    name: str
    apart: tuple[str, ...]
    known: Mapping[str, Any] = field(compare=False)


class _OnUse(ModuleType):
    """A module whose code runs when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name in _state(self).plan.apart:  # as `from package import part` asks
            return importlib.import_module(f"{self.__name__}.{name}")
        if (name.startswith("__") and name not in _USED) or not _run(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name, as Beam's picklers do with modules."""
        return importlib.import_module, (self.__name__,)


class _State:
    def __init__(self, plan: _Plan) -> None:
        self.plan, self.lock, self.runs = plan, _bootstrap._ModuleLock(f"{plan.name} on use"), False


def _state(module: ModuleType) -> _State:
    state: _State = vars(module)[_STATE]
    return state


def _run(module: ModuleType) -> bool:
    """Runs a stand-in's code; False where the module asks for itself, while it runs."""
    state = _state(module)
    try:
        state.lock.acquire()
    except _bootstrap._DeadlockError:
        return False
    try:
        if state.runs:
            return False
        if isinstance(module, _OnUse):  # or another thread was faster
            _execute(module, state)
    finally:
        state.lock.release()
    return True


def _execute(module: ModuleType, state: _State) -> None:
    assert module.__spec__ is not None and module.__spec__.loader is not None
    before = dict(vars(module))
    state.runs = True
    try:
        with import_without_collecting():
            module.__spec__.loader.exec_module(module)
    except BaseException:
        vars(module).clear()
        vars(module).update(before)
        raise
    finally:
        state.runs = False
    module.__class__ = ModuleType


@contextmanager
def _others_may_import() -> Iterator[None]:
    """Python locks all imports while it looks for a module, which is not meant to take long."""
    _imp.release_lock()
    try:
        yield
    finally:
        _imp.acquire_lock()


@dataclass(frozen=True)
class _Finder(MetaPathFinder):
    """Finds a stand-in for a module; runs it before its submodules, and hands out those it imports itself."""

    plan: _Plan

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.plan.name:
            return wrapped(self, fullname, path, target, lambda loader: _StandIn(loader, self.plan))
        package, _, first = fullname.rpartition(".")
        if package != self.plan.name or first in self.plan.apart:
            return None
        module = sys.modules[package]
        # While it runs it may wait for this very submodule, and so is not waited for.
        if not isinstance(module, _OnUse) or _state(module).runs:
            return None
        with _others_may_import():
            if not _run(module):
                return None
        found = sys.modules.get(fullname)
        if found is None:
            return None
        spec = ModuleSpec(fullname, _Loaded(found))
        found.__spec__ = spec  # or Python would take the other one, and run the module again
        return spec


class _StandIn(WrappingLoader):
    """Loads a module without running it."""

    def __init__(self, loader: Loader, plan: _Plan) -> None:
        super().__init__(loader)
        self._plan = plan

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).update(self._plan.known)
        vars(module)[_STATE] = _State(self._plan)
        module.__class__ = _OnUse


class _Loaded(Loader):
    """Leaves a module as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
