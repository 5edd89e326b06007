"""Hides packages from modules that do without them where they are not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from pipeline.runners.kubeflow.wrapping import WrappingLoader, wrapped


def import_without(importer: str, *names: str) -> None:
    """Has a module, and what it is the first to import, find no such packages while it runs.

    Everything else finds them, but for another thread that asks for one just then.

    Nothing is done where the module was imported already. A package that was imported before is not hidden:
    it costs nothing more.

    Args:
        importer: a module that catches the ImportError.
        names: what it tries to import.
    """
    finder = _Finder(importer, names)
    if importer not in sys.modules and finder not in sys.meta_path:
        # After those of `import_on_use`: what is put off is without them when it runs.
        sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)


@dataclass(frozen=True)
class _Finder(MetaPathFinder):
    importer: str
    names: Sequence[str]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.importer:
            return None
        return wrapped(self, fullname, path, target, lambda loader: _Without(loader, self.names))


class _Without(WrappingLoader):
    def __init__(self, loader: Loader, names: Sequence[str]) -> None:
        super().__init__(loader)
        self._names = names

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        hidden = [name for name in self._names if name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # so Python knows none is there
        try:
            self._loader.exec_module(module)
        finally:
            for name in hidden:
                del sys.modules[name]
