"""v1's deep module paths, served from one table.

In v1 ``meridian.core.edge`` was a package of several modules; here it is one. Code that imported from the inner ones
goes on working, with a `DeprecationWarning` that names the new home. Nothing is imported, and no file exists, for a
path that nobody asks for.

An old path *is* its new home: ``import meridian.core.edge.definition`` gives the module ``meridian.core.edge`` itself, so
that classes, and what somebody patches, are the same under both names.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from types import ModuleType

_INNER: Final[dict[str, tuple[str, ...]]] = {
    "meridian.core.edge": ("definition",),
    "meridian.core.node": ("base",),
    "meridian.core.policies": ("definitions",),
    "meridian.core.subgraph": ("construction", "validation", "management"),
    "meridian.core.scheduler": ("config", "coordinator", "execution", "fairness", "shutdown"),
    "meridian.core.runtime_plan": ("plan",),
    "meridian.core.priority_queue": ("config", "queue", "processor"),
    "meridian.observability.logging": ("config", "context", "logger"),
    "meridian.observability.metrics": ("config", "collection", "instruments", "providers"),
    "meridian.observability.tracing": ("config", "context", "providers", "spans"),
    "meridian.utils.validators": ("graph", "issue", "ports", "schema"),
}

MOVED: Final[dict[str, str]] = {
    **{f"{home}.{inner}": home for home, names in _INNER.items() for inner in names},
    "meridian.nodes.testing": "meridian.testing.harness",
}
"""Old path to new home."""


class _Finder:
    """Finds the old paths; the import system asks it after all others."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old path, ``None`` for all else."""
        del path, target
        return ModuleSpec(name, _LOADER) if name in MOVED else None


class _Loader:
    """Puts the new home in the old path's place."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Let the import system make a module; `exec_module` exchanges it."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Warn, and exchange ``module`` for the new home."""
        old = module.__name__
        home = MOVED[old]
        # Frames of the import system are skipped: this points at the import statement.
        warnings.warn(f"{old} is now {home}: import from there", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(home)


_LOADER = cast("Loader", _Loader())


def install() -> None:
    """Serve the old paths from now on."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
    for home in _INNER:
        loaded = sys.modules.get(home)
        if loaded is not None and not hasattr(loaded, "__path__"):
            # Only below something that has a path does the import system look for submodules; there are no files there.
            loaded.__path__ = []
