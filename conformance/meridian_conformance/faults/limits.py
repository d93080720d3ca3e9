"""Faults of the limits by bytes and by age."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from meridian_conformance.contract import EdgeSpec, Put
from meridian_conformance.faults import FaultyEdge

if TYPE_CHECKING:
    from meridian.engine.ring import LimitedRing


class NeverGivesBytesBack(FaultyEdge, rule="EDGE-115"):
    """Forgets to give back the bytes of replaced items."""

    def put(self, item: Any) -> str:
        ring = cast("LimitedRing", self.ring)
        bytes_before = ring.bytes if ring.limited else 0
        result = super().put(item)
        if result == Put.REPLACED and self.spec.max_bytes is not None and ring.bytes < bytes_before:
            ring.bytes = bytes_before
        return result


class ReplacesOnlyOne(FaultyEdge, rule="EDGE-115"):
    """Discards one item where several have to go."""

    def put(self, item: Any) -> str:
        if self.spec.policy != "latest" or self.spec.max_bytes is None or len(self.ring.items) < 2:
            return super().put(item)
        kept = list(self.ring.items)[1:]
        notes = list(cast("LimitedRing", self.ring)._notes)[1:]
        result = super().put(item)
        gone = len(kept) + 1 - len(self.ring.items)
        if result == Put.REPLACED and gone > 0:
            ring = cast("LimitedRing", self.ring)
            ring.items.extendleft(reversed(kept[:gone]))
            ring._notes.extendleft(reversed(notes[:gone]))
            ring.bytes += sum(n for n, _ in notes[:gone])
            ring.lose("replaced", -gone)
        return result


class IgnoresBytes(FaultyEdge, rule="EDGE-115"):
    """Claims the limit and doesn't keep it."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(replace(spec, max_bytes=None))


class DeliversStaleItems(FaultyEdge, rule="EDGE-116"):
    """Looks at ages when an item is put, not when one is taken."""

    def get(self) -> Any:
        if self.spec.max_age_s is None:
            return super().get()
        ring = cast("LimitedRing", self.ring)
        age, ring.max_age_ns = ring.max_age_ns, None
        try:
            return super().get()
        finally:
            ring.max_age_ns = age


class ExpiresOneTooMany(FaultyEdge, rule="EDGE-116"):
    """Compares with ``>=`` where it has to be ``>``."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(spec if spec.max_age_s is None else replace(spec, max_age_s=spec.max_age_s - 1e-6))
