"""Faults of the policies."""

from __future__ import annotations

from typing import Any

from meridian_conformance.contract import COALESCE, Put
from meridian_conformance.faults import FaultyEdge


class OverwritesOnTheSecondFullPut(FaultyEdge, rule="EDGE-110"):
    """Writes before it looks, if it was refused just before."""

    refused = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        self.refused = self.refused + 1 if result == Put.BLOCKED else 0
        if self.refused == 2:
            self.ring.items[-1] = item
        return result


class DropsTheOldest(FaultyEdge, rule="EDGE-111"):
    """Drops at the wrong end."""

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result == Put.DROPPED and self.ring.items:
            self.ring.items.popleft()
            self.ring.items.append(item)
        return result


class WritesOverTheHead(FaultyEdge, rule="EDGE-112"):
    """Writes the new item in the place of the oldest, where it is taken first."""

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result == Put.REPLACED:
            self.ring.items.rotate(1)
        return result


class ReplacesTheNewest(FaultyEdge, rule="EDGE-112"):
    """Replaces the newest held item instead of the oldest."""

    def put(self, item: Any) -> str:
        items = self.ring.items
        if self.spec.policy != "latest" or self.closed or not self.is_full_by_count() or self.spec.max_bytes:
            return super().put(item)
        oldest = items[0]
        result = super().put(item)
        if result == Put.REPLACED and len(items) > 1:
            items.appendleft(oldest)
            del items[-2]
        return result

    def is_full_by_count(self) -> bool:
        """Whether it holds as many data items as it may."""
        return bool(self.ring.items) and self.depth() >= self.spec.capacity


class GrowsByOne(FaultyEdge, rule="EDGE-112"):
    """Appends the new item and keeps the oldest."""

    def put(self, item: Any) -> str:
        items = self.ring.items
        oldest = items[0] if items and self.spec.max_bytes is None else None
        result = super().put(item)
        if result == Put.REPLACED and oldest is not None:
            items.appendleft(oldest)
        return result


class _Coalescing(FaultyEdge):
    """Does the merging itself, so that it can do it wrong."""

    def put(self, item: Any) -> str:
        ring, spec = self.ring, self.spec
        mine = spec.policy == "coalesce" and spec.max_bytes is None and spec.max_age_s is None
        if mine and not self.closed and ring.items and self.applies():
            return self.merge(item)
        return super().put(item)

    def applies(self) -> bool:
        """Whether it merges now."""
        return self.depth() >= self.spec.capacity

    def merge(self, item: Any) -> str:
        """Merge, in some wrong way."""
        raise NotImplementedError

    def rightly(self, index: int, item: Any) -> str:
        """Merge as it should be, but perhaps into another item."""
        ring = self.ring
        try:
            ring.items[index] = self.spec.merge(ring.items[index], item)
            ring.merged += 1
        except Exception:  # noqa: BLE001 - the stated outcome of a failing function
            ring.items[index] = item
            ring.lose("coalesce_error", 1)
        return Put.COALESCED


class CoalescesInTheWrongOrder(_Coalescing, rule="EDGE-113"):
    """Calls ``fn(new, old)``."""

    def merge(self, item: Any) -> str:
        ring = self.ring
        try:
            ring.items[-1] = self.spec.merge(item, ring.items[-1])
            ring.merged += 1
        except Exception:  # noqa: BLE001 - as above
            ring.items[-1] = item
            ring.lose("coalesce_error", 1)
        return Put.COALESCED


class CoalescesTwice(_Coalescing, rule="EDGE-113"):
    """Calls the function once to try and once to do."""

    def merge(self, item: Any) -> str:
        try:
            self.spec.merge(self.ring.items[-1], item)
        except Exception:  # noqa: BLE001 - it was only tried
            pass
        return self.rightly(-1, item)


class CoalescesTheOldest(_Coalescing, rule="EDGE-113"):
    """Merges into the item that is taken next."""

    def merge(self, item: Any) -> str:
        return self.rightly(0, item)


class CoalescesWithRoom(_Coalescing, rule="EDGE-113"):
    """Merges whenever it holds something, though there is room."""

    def applies(self) -> bool:
        return self.depth() >= max(self.spec.capacity - 1, 1)

    def merge(self, item: Any) -> str:
        return self.rightly(-1, item)


class LosesBothWhenCoalesceFails(_Coalescing, rule="EDGE-114"):
    """Takes the held item out before it calls the function."""

    def merge(self, item: Any) -> str:
        ring = self.ring
        if COALESCE[self.spec.coalesce or ""] is not COALESCE["fail"]:
            return self.rightly(-1, item)
        ring.items.pop()
        ring.lose("coalesce_error", 2)
        return Put.COALESCED


class KeepsTheOlderWhenCoalesceFails(_Coalescing, rule="EDGE-114"):
    """Keeps what it held and discards the new item."""

    def merge(self, item: Any) -> str:
        ring = self.ring
        older = ring.items[-1]
        lost = (ring.lost or {}).get("coalesce_error", 0)
        result = self.rightly(-1, item)
        if (ring.lost or {}).get("coalesce_error", 0) > lost:
            ring.items[-1] = older
        return result


class StaysLockedWhenCoalesceFails(_Coalescing, rule="EDGE-114"):
    """Lets the exception out, and its own flag up."""

    locked = False

    def applies(self) -> bool:
        return self.locked or super().applies()

    def merge(self, item: Any) -> str:
        if self.locked:
            return Put.BLOCKED
        self.locked = True
        self.ring.items[-1] = self.spec.merge(self.ring.items[-1], item)
        self.ring.merged += 1
        self.locked = False
        return Put.COALESCED
