"""What a finder of modules needs to change how one of them is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class WrappingLoader(Loader):
    """Does what another loader does; whoever looks at the module later finds that one."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The other loader's module."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Steps back; what extends this runs the module, or not."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader


def wrapped(
    finder: MetaPathFinder,
    name: str,
    path: Sequence[str] | None,
    target: ModuleType | None,
    wrap: Callable[[Loader], Loader],
) -> ModuleSpec | None:
    """What the finders after this one find, with its loader wrapped; None where there is no such module."""
    for other in sys.meta_path[sys.meta_path.index(finder) + 1 :]:
        spec = other.find_spec(name, path, target)
        if spec is not None:
            assert spec.loader is not None
            spec.loader = wrap(spec.loader)
            return spec
    return None
