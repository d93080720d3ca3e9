"""Backends with subtle faults that the rules were not written for: thought up from the requirements alone (V3, V4, V7, V14).

They are no seeded faults: nobody told the checks about them.
"""

from __future__ import annotations

from typing import Any, cast

from meridian_conformance.contract import EMPTY, EdgeSpec, Put
from meridian_conformance.faults import FaultyEdge
from meridian_conformance.faults.waiting import ParkingEdge
from meridian_conformance.reference import ReferenceBackend


class ExpiryKeepsBytes(FaultyEdge):
    """V14: an expired item is counted as lost, but its bytes stay charged."""

    def get(self) -> Any:
        ring = cast("Any", self.ring)
        both = self.spec.max_bytes is not None and self.spec.max_age_s is not None
        before = (ring.lost or {}).get("expired", 0)
        item = super().get()
        if both and (ring.lost or {}).get("expired", 0) > before:
            ring.bytes += 8
        return item


class WaitingPutSaysOk(ParkingEdge):
    """V3: what became of an item is told exactly by put, and only roughly by put_wait."""

    async def put_wait(self, item: Any) -> str:
        result = await super().put_wait(item)
        return Put.OK if result in (Put.REPLACED, Put.DROPPED, Put.COALESCED) else result


class ParkedItemGoesFirst(ParkingEdge):
    """V7: the item of a producer that had to wait is taken before those that were there."""

    async def put_wait(self, item: Any) -> str:
        waited = False
        while (result := self.put(item)) == Put.BLOCKED:
            waited = True
            await self.park(self.producers)
        if waited and result == Put.OK:
            self.ring.items.rotate(1)
        return result


class WokenProducerLooksNoMore(ParkingEdge):
    """V3, V4: a woken producer takes the slot for granted, though a quicker one may have taken it."""

    async def put_wait(self, item: Any) -> str:
        result = self.put(item)
        if result == Put.BLOCKED:
            await self.park(self.producers)
            if self.closed:
                return Put.CLOSED
            self.ring.items.append(item)
            self.wake(self.consumers)
            return Put.OK
        return result


class SwapsAfterManyPuts(FaultyEdge):
    """V7: an index of one byte comes round."""

    puts = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        items = self.ring.items
        if result == Put.OK:
            self.puts += 1
            if self.puts % 256 == 0 and len(items) > 1 and not self.spec.max_bytes and not self.spec.max_age_s:
                items[-1], items[-2] = items[-2], items[-1]
        return result


class FalsyItemsAreNotMerged(FaultyEdge):
    """V3: a full coalesce edge whose newest item is false takes the new one instead, and says that it merged."""

    def put(self, item: Any) -> str:
        items = self.ring.items
        full = self.spec.policy == "coalesce" and not self.closed and self.depth() >= self.spec.capacity
        if full and items and not items[-1] and self.spec.max_bytes is None and self.spec.max_age_s is None:
            items[-1] = item
            self.ring.merged += 1
            return Put.COALESCED
        return super().put(item)


class CloseLosesTheRaceWithAGet(ParkingEdge):
    """V8: a consumer that is woken by the close gets CLOSED, though an item came in the same moment."""

    async def get_wait(self) -> Any:
        item = self.get()
        while item is EMPTY and not self.closed:
            await self.park(self.consumers)
            item = EMPTY if self.closed else self.get()
        return item if item is not EMPTY else await super().get_wait() if self.depth() > 1 else self.nothing()

    def nothing(self) -> Any:
        from meridian_conformance.contract import CLOSED

        return CLOSED


def backend(edge: type[FaultyEdge]) -> Any:
    """Make a backend that opens such edges."""

    class Backend(ReferenceBackend):
        name = f"stranger {edge.__name__}"
        edge_type = edge

    return Backend()


STRANGERS = (
    ExpiryKeepsBytes,
    WaitingPutSaysOk,
    ParkedItemGoesFirst,
    WokenProducerLooksNoMore,
    SwapsAfterManyPuts,
    FalsyItemsAreNotMerged,
    CloseLosesTheRaceWithAGet,
)

_ = EdgeSpec
