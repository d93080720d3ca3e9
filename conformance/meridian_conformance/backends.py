"""Finding what is to be examined, by name."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any, Final

from meridian_conformance.contract import claims

GROUPS: Final = {
    "edge": "meridian.edge_backends",
    "ready": "meridian.ready_backends",
    "engine": "meridian.engine_backends",
    "node": "meridian.node_backends",
}
"""Groups of entry points in which packages name their backends."""

REFERENCES: Final = {
    "edge": "meridian_conformance.reference:ReferenceBackend",
    "ready": "meridian_conformance.ready.reference:ReferenceQueues",
    "engine": "meridian_conformance.engine.reference:PythonEngines",
    "node": "meridian_conformance.node.reference:PythonNodes",
}
"""What ``python`` stands for, by target."""

ALSO_OURS: Final = {
    ("rust", "edge"): "meridian_conformance.reference:RustBackend",
    ("rust", "ready"): "meridian_conformance.ready.reference:RustQueues",
    ("rust", "engine"): "meridian_conformance.engine.reference:RustEngines",
    ("rust", "node"): "meridian_conformance.node.reference:RustNodes",
}
"""What other names of Meridian's own stand for, by name and target."""


class UsageError(ValueError):
    """What was asked for isn't there; the text says what is."""


def load(name: str, target: str = "edge") -> Any:
    """Return the backend that ``name`` stands for.

    Args:
        name: ``python`` for Meridian's own; ``module:attribute``, where the attribute is a backend, its class, or a function
            that makes one; a module with a class ``Backend``; or the name of an entry point of the target's group.
        target: What the backend is for.

    Raises:
        UsageError: there is no such thing, or it isn't a backend.
    """
    wanted = REFERENCES.get(target, name) if name == "python" else ALSO_OURS.get((name, target), name)
    found = _find(wanted, GROUPS.get(target, ""))
    if isinstance(found, type) or (callable(found) and not hasattr(found, "open")):
        try:
            found = found()
        except Exception as error:
            raise UsageError(
                f"{name}: making the backend failed with {type(error).__name__}: {error}"
            ) from error
    if not callable(getattr(found, "open", None)):
        raise UsageError(
            f"{name} is a {type(found).__name__} without a method open(spec), so it is no backend"
        )
    try:
        claims(found)
    except TypeError as error:
        raise UsageError(str(error)) from error
    return found


def _find(name: str, group: str) -> Any:
    module, _, attribute = name.partition(":")
    if not attribute:
        for point in entry_points(group=group) if group else ():
            if point.name == name:
                return point.load()
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        missing = getattr(error, "name", None) or module
        raise UsageError(
            f"{name}: can't import {missing}. Name a backend as python, module:attribute, or an entry point of {group}"
        ) from error
    try:
        return getattr(imported, attribute or "Backend")
    except AttributeError as error:
        raise UsageError(f"{name}: module {module} has no {attribute or 'Backend'}") from error
