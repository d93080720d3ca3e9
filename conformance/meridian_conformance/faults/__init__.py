"""Seeded faults: the reference with one mistake each, to prove that the checks can find it.

Each names the rule that has to catch it. They are written as somebody's honest mistake would be, over the reference: what they
don't override is right.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from meridian_conformance.reference import ReferenceBackend, ReferenceEdge

FAULTS: Final[dict[str, type[Any]]] = {}
"""All faults by name; each is a backend class with ``rule`` and ``profile``. Filled by `load_all`."""


def register(fault: type[Any], rule: str) -> None:
    """Make a backend class a fault of ``rule``."""
    fault.rule = rule
    fault.name = f"fault {fault.__name__}"
    FAULTS[fault.__name__] = fault


class FaultyBackend(ReferenceBackend):
    """The reference backend, opening edges with a mistake."""

    rule: ClassVar[str] = ""


class FaultyEdge(ReferenceEdge):
    """An edge of the reference with one mistake; a subclass names the rule that it breaks: ``class X(FaultyEdge, rule="EDGE-101")``."""

    def __init_subclass__(cls, *, rule: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if rule:
            backend = type(
                cls.__name__,
                (FaultyBackend,),
                {
                    "edge_type": cls,
                    "__doc__": cls.__doc__,
                    "__module__": cls.__module__,
                },
            )
            register(backend, rule)


def load_all() -> dict[str, type[Any]]:
    """Import all modules that hold faults, and return the faults."""
    from meridian_conformance.faults import (
        engine,
        engine_async,
        engine_limits,
        limits,
        node,
        policies,
        ready,
        seen,
        storage,
        stores,
        threads,
        waiting,
    )

    del engine, engine_async, engine_limits, limits, node
    del policies, ready, seen, storage, stores, threads, waiting
    return FAULTS
