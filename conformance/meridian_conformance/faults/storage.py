"""Faults of what any edge does: bound, order, conservation, results, refusal, identity, room, CONTROL, isolation, close."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import replace
from typing import Any

from meridian.core.message import CONTROL, Message
from meridian_conformance.contract import EMPTY, EdgeSpec, Put
from meridian_conformance.faults import FaultyBackend, FaultyEdge, register

# ---- EDGE-101: depth within capacity ---------------------------------------------------------------------------------


class CapacityPlusOne(FaultyEdge, rule="EDGE-101"):
    """Compares with ``>`` where it has to be ``>=``."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(replace(spec, capacity=spec.capacity + 1))


class OneMoreForAMagicValue(FaultyEdge, rule="EDGE-101"):
    """Appends payloads that are false without looking at the capacity."""

    def put(self, item: Any) -> str:
        if self.closed or item or self.depth() != self.spec.capacity:
            return super().put(item)
        self.ring.items.append(item)
        return Put.OK


# ---- EDGE-102: first in, first out -----------------------------------------------------------------------------------


class LastInFirstOut(FaultyEdge, rule="EDGE-102"):
    """Takes at the end at which it puts."""

    def get(self) -> Any:
        if len(self.ring.items) > 1:
            self.ring.items.rotate(1)
        return super().get()


class SwapsTwoOnWrapAround(FaultyEdge, rule="EDGE-102"):
    """Changes two items when the storage begins anew."""

    puts = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        items = self.ring.items
        if result == Put.OK:
            self.puts += 1
            if self.puts % (self.spec.capacity + 1) == 0 and len(items) > 1:
                items[-1], items[-2] = items[-2], items[-1]
        return result


# ---- EDGE-103: conservation ------------------------------------------------------------------------------------------


class LosesTheSeventhPut(FaultyEdge, rule="EDGE-103"):
    """Counts every seventh item as held and forgets it."""

    puts = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result == Put.OK:
            self.puts += 1
            if self.puts % 7 == 0:
                self.ring.items.pop()
        return result


class DuplicatesOnWrapAround(FaultyEdge, rule="EDGE-103"):
    """Delivers the first item of the storage twice when it begins anew."""

    gets = 0
    again: Any = EMPTY

    def get(self) -> Any:
        if self.again is not EMPTY:
            item, self.again = self.again, EMPTY
            return item
        item = super().get()
        if item is not EMPTY:
            self.gets += 1
            if self.gets % (self.spec.capacity + 1) == 0:
                self.again = item
        return item


class TakesFalsyForEmpty(FaultyEdge, rule="EDGE-103"):
    """Asks ``if item`` where it means ``if there is one``."""

    def get(self) -> Any:
        return super().get() or EMPTY


# ---- EDGE-104: the result is what happened ---------------------------------------------------------------------------


class SaysOkAndDrops(FaultyEdge, rule="EDGE-104"):
    """Answers OK for an item that a full drop edge discarded."""

    def put(self, item: Any) -> str:
        result = super().put(item)
        return Put.OK if result == Put.DROPPED else result


class SaysDroppedAndKeeps(FaultyEdge, rule="EDGE-104"):
    """Answers DROPPED for the item that takes the last slot."""

    def put(self, item: Any) -> str:
        result = super().put(item)
        last = self.spec.policy == "drop" and self.depth() == self.spec.capacity
        return Put.DROPPED if result == Put.OK and last else result


# ---- EDGE-105: impossible edges are refused --------------------------------------------------------------------------


class AcceptsCapacityZero(FaultyBackend):
    """Keeps whatever capacity it gets."""

    def open(self, spec: EdgeSpec) -> Any:
        return super().open(replace(spec, capacity=max(spec.capacity, 1)))


class AcceptsAnUnknownPolicy(FaultyBackend):
    """Falls back to block."""

    def open(self, spec: EdgeSpec) -> Any:
        known = spec.policy in ("block", "drop", "latest", "coalesce")
        return super().open(spec if known else replace(spec, policy="block"))


register(AcceptsCapacityZero, "EDGE-105")
register(AcceptsAnUnknownPolicy, "EDGE-105")

# ---- EDGE-106: items come out as they went in ------------------------------------------------------------------------


class CopiesItems(FaultyEdge, rule="EDGE-106"):
    """Copies for safety's sake."""

    def put(self, item: Any) -> str:
        return super().put(copy.deepcopy(item))


class WritesIntoItems(FaultyEdge, rule="EDGE-106"):
    """Keeps its books in the item."""

    def put(self, item: Any) -> str:
        if isinstance(item, dict):
            item["_seen"] = True
        return super().put(item)


class TurnsTuplesIntoLists(FaultyEdge, rule="EDGE-106"):
    """Goes through a format that has no tuples."""

    def put(self, item: Any) -> str:
        return super().put(list(item) if isinstance(item, tuple) else item)


# ---- EDGE-107: an edge with room takes the item ----------------------------------------------------------------------


class FullOneEarly(FaultyEdge, rule="EDGE-107"):
    """Keeps one slot free, to tell full from empty."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(replace(spec, capacity=max(spec.capacity - 1, 1)))


class FullOneEarlyAfterWrapAround(FaultyEdge, rule="EDGE-107"):
    """Notices the slot that a take freed only at the next take, once the storage was full."""

    was_full = stale = False

    def put(self, item: Any) -> str:
        if (
            self.stale
            and self.depth() == self.spec.capacity - 1
            and self.spec.policy == "block"
            and not self.closed
        ):
            return Put.BLOCKED
        result = super().put(item)
        self.was_full = self.was_full or self.depth() == self.spec.capacity
        return result

    def get(self) -> Any:
        self.stale = self.was_full and self.depth() == self.spec.capacity
        return super().get()


# ---- EDGE-108: CONTROL -----------------------------------------------------------------------------------------------


class ControlIsReplaced(FaultyEdge, rule="EDGE-108"):
    """Makes room for data by discarding the first of all, which is CONTROL."""

    def put(self, item: Any) -> str:
        ring = self.ring
        if (
            ring.control
            and self.spec.policy == "latest"
            and not self.closed
            and self.depth() >= self.spec.capacity
        ):
            ring.control.popleft()
            ring.space += 1
            ring.lose("replaced", 1)
            ring.items.append(item)
            return Put.REPLACED
        return super().put(item)


class ControlWaitsInLine(FaultyEdge, rule="EDGE-108"):
    """Appends CONTROL behind the data."""

    def get(self) -> Any:
        ring = self.ring
        if ring.control and ring.items:
            item = ring.items.popleft()
            ring.taken += 1
            return item
        return super().get()

    def held(self) -> list[Any]:
        return list(self.ring.items) + [
            item.payload
            for item in self.ring.control or ()
            if isinstance(item, Message) and item.type is CONTROL
        ]


# ---- EDGE-109: isolation ---------------------------------------------------------------------------------------------


class SharesItsStorage(FaultyBackend):
    """Keeps the items in a default argument."""

    kept: dict[int, deque[Any]] = {}  # noqa: RUF012 - that is the fault

    def open(self, spec: EdgeSpec) -> Any:
        edge = super().open(spec)
        edge.ring.items = self.kept.setdefault(spec.capacity, deque())
        return edge

    def discard(self, edge: Any) -> None:
        edge.ring.items.clear()


register(SharesItsStorage, "EDGE-109")

# ---- EDGE-123: close -------------------------------------------------------------------------------------------------


class CloseForgetsItems(FaultyEdge, rule="EDGE-123"):
    """Clears the storage."""

    def close(self) -> None:
        super().close()
        self.ring.items.clear()


class CloseTwiceFails(FaultyEdge, rule="EDGE-123"):
    """Raises when it is closed already."""

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        super().close()


class TakesItemsWhenClosed(FaultyEdge, rule="EDGE-123"):
    """Looks at the flag only when it is full."""

    def put(self, item: Any) -> str:
        if self.closed and self.depth() < self.spec.capacity:
            self.ring.items.append(item)
            return Put.OK
        return super().put(item)
