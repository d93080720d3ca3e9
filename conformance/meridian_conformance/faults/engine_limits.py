"""Faults of engines in what they do about bytes and ages."""

from __future__ import annotations

from typing import Any

from meridian.engine.ring import Budget, LimitedRing, Ring
from meridian_conformance.engine.reference import ReferenceEngine
from meridian_conformance.faults.engine import register_engine


class BatchesIgnoreBytes(LimitedRing):
    """Measures single items, and batches by their number."""

    def offer(self, items: list[Any]) -> int:
        most, self.max_bytes = self.max_bytes, None
        try:
            return super().offer(items)
        finally:
            self.max_bytes = most


class BytesComeBackTwice(LimitedRing):
    """Gives the bytes of a batch back when it is taken, and those of what was handled again when it ends."""

    def settle(self, k: int, rest: Any) -> None:
        super().settle(k, rest)
        if k > 1 and not rest and self.bytes:
            self._charge(-1)


class DeliversWhatIsTooOld(LimitedRing):
    """Looks at the time when something is put, and not when it is taken."""

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        age, self.max_age_ns = self.max_age_ns, None
        try:
            return super().take(k, put_back)
        finally:
            self.max_age_ns = age


class ExpiresTheWholeEdge(LimitedRing):
    """Takes an edge whose oldest item is too old for an old edge."""

    def _expire(self) -> None:
        left = len(self.items)
        super()._expire()
        while len(self.items) < left and self.items:
            self._evict("expired")


class _Generous(Budget):
    def admits(self, n: int, share: int) -> bool:
        return n <= (share or self.limit)


class EachEdgeHasItsOwnBudget(ReferenceEngine):
    """Holds each item against the budget, rather than all that are queued."""

    budget_type = _Generous


class FirstComeFirstServed(ReferenceEngine):
    """Lets whoever comes first have the bytes, however far it is from the sinks."""

    def _rings(self) -> list[Ring]:
        rings = super()._rings()
        for ring in rings:
            if isinstance(ring, LimitedRing):
                ring.budget_share = 0
        return rings


class _Silent(Budget):
    def charge(self, n: int) -> None:
        self.used += n


class FreedBytesWakeNobody(ReferenceEngine):
    """Wakes who waits for an edge when that edge gives bytes back, and never who waits for the same bytes elsewhere."""

    budget_type = _Silent


for _rule, _part in (
    ("ENGINE-521", BatchesIgnoreBytes),
    ("ENGINE-521", BytesComeBackTwice),
    ("ENGINE-522", DeliversWhatIsTooOld),
    ("ENGINE-522", ExpiresTheWholeEdge),
    ("ENGINE-523", EachEdgeHasItsOwnBudget),
    ("ENGINE-524", FirstComeFirstServed),
    ("ENGINE-524", FreedBytesWakeNobody),
):
    register_engine(_rule, _part)
