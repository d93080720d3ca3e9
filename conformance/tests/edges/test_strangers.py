"""Backends with subtle faults that the rules were not written for: thought up from the requirements alone (V3, V4, V7, V8, V14).

They are no seeded faults: nobody told the checks about them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from meridian_conformance import checks, runner
from meridian_conformance.contract import CLOSED, Put
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
            if (
                self.puts % 256 == 0
                and len(items) > 1
                and not self.spec.max_bytes
                and not self.spec.max_age_s
            ):
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


class CloseForgetsTheLastItem(ParkingEdge):
    """V8: a consumer that looks after the close is told CLOSED, though something is left for it."""

    async def get_wait(self) -> Any:
        item = await super().get_wait()
        if self.closed and item is not CLOSED and self.depth() == 0:
            self.ring.items.append(item)
            self.ring.taken -= 1
            return CLOSED
        return item


def backend(edge: type[FaultyEdge]) -> Any:
    """Make a backend that opens such edges."""

    class Backend(ReferenceBackend):
        name = f"stranger {edge.__name__}"
        edge_type = edge

    return Backend()


@pytest.mark.req("X5", "V3", "V4", "V7", "V8", "V14")
@pytest.mark.parametrize(
    ("edge", "rule"),
    [
        (ExpiryKeepsBytes, "EDGE-116"),
        (WaitingPutSaysOk, "EDGE-103"),
        (ParkedItemGoesFirst, "EDGE-102"),
        (WokenProducerLooksNoMore, "EDGE-101"),
        (SwapsAfterManyPuts, "EDGE-102"),
        (FalsyItemsAreNotMerged, "EDGE-113"),
        (CloseForgetsTheLastItem, "EDGE-124"),
    ],
)
def test_a_fault_that_nobody_told_the_kit_about_is_found(edge: type[FaultyEdge], rule: str) -> None:
    less = replace(checks.EFFORTS["pr"], scope=5, async_scope=4, examples=60)  # so that the test is quick
    result = runner.run(backend(edge), ["core", "async"], effort=less, probe=False)
    assert result.exit_code == 1
    assert result.of(rule).verdict == "fail"
