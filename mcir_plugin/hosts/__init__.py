"""One adapter per toolbox. An adapter is the only code that imports its toolbox, and loads only together with it.

An adapter package offers two functions without arguments, both safe to call twice: ``prepare()``, run just before the
toolbox is imported, and ``attach()``, run just after.
"""
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def when_imported(toolbox: str, adapter: str) -> None:
    """Run an adapter when a toolbox is imported, or at once if it already is.

    Args:
        toolbox (str): Top-level package of the toolbox, for example ``basicsr``.
        adapter (str): Module with ``prepare()`` and ``attach()``. It is imported only when it is needed.
    """
    if toolbox in sys.modules:
        import_module(adapter).attach()
    else:
        sys.meta_path.insert(0, _AdapterFinder(toolbox, adapter))


class _AdapterFinder(MetaPathFinder):
    """Finds nothing itself: it wraps the real loader of one package, until that has been imported."""

    def __init__(self, toolbox: str, adapter: str) -> None:
        self.toolbox = toolbox
        self.adapter = adapter
        self._asking = False  # the others are asked through the same door

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the toolbox's own spec with a loader that also runs the adapter, None for every other package."""
        if fullname != self.toolbox or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _AdapterLoader(spec.loader, self)
        return spec


class _AdapterLoader(Loader):
    """Runs ``prepare()``, the toolbox, ``attach()``."""

    def __init__(self, loader: Loader, finder: _AdapterFinder) -> None:
        self.loader = loader
        self.finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation to the real loader."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Import the toolbox between the two steps of its adapter; a failed import can be tried again."""
        module.__spec__.loader = module.__loader__ = self.loader
        adapter = import_module(self.finder.adapter)
        adapter.prepare()
        self.loader.exec_module(module)
        sys.meta_path.remove(self.finder)
        adapter.attach()
