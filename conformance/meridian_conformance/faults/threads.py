"""Faults that only several threads show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import EMPTY, Put
from meridian_conformance.faults import FaultyEdge

if TYPE_CHECKING:
    from meridian_conformance.contract import Counters


class TearsACounter(FaultyEdge, rule="EDGE-140"):
    """Reads a total, puts, and writes the total."""

    total = 0

    def put(self, item: Any) -> str:
        before = self.total
        result = super().put(item)
        if result not in (Put.BLOCKED, Put.CLOSED):
            self.total = before + 1
        return result

    def counters(self) -> Counters:
        return {**super().counters(), "accepted": self.total}


class ChecksAndThenAppends(FaultyEdge, rule="EDGE-140"):
    """Looks at the depth in one step and appends in another."""

    def put(self, item: Any) -> str:
        if self.spec.policy != "block" or self.closed:
            return super().put(item)
        if self.depth() >= self.spec.capacity:
            return Put.BLOCKED
        time.sleep(0)
        self.ring.items.append(item)
        return Put.OK


class TakesTheSameTwice(FaultyEdge, rule="EDGE-140"):
    """Looks at the first item in one step and takes it off in another."""

    def get(self) -> Any:
        items = self.ring.items
        try:
            item = items[0]
            time.sleep(0)
            items.popleft()
        except IndexError:
            return EMPTY
        self.ring.taken += 1
        return item
