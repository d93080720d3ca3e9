"""Faults of waiting, over a parking of futures as it is usually written."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from meridian_conformance.contract import CLOSED, EMPTY, EdgeSpec, Put
from meridian_conformance.faults import FaultyEdge


class ParkingEdge(FaultyEdge):
    """Keeps two lines of futures, like ``asyncio.Queue``; right as it stands, but for fairness among those woken."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(spec)
        self.producers: deque[asyncio.Future[None]] = deque()
        self.consumers: deque[asyncio.Future[None]] = deque()

    def wake(self, line: deque[asyncio.Future[None]]) -> None:
        """Let the first of a line on."""
        while line:
            first = line.popleft()
            if not first.done():
                first.set_result(None)
                return

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result not in (Put.BLOCKED, Put.CLOSED):
            self.wake(self.consumers)
        return result

    def get(self) -> Any:
        item = super().get()
        if item is not EMPTY:
            self.wake(self.producers)
        return item

    async def put_wait(self, item: Any) -> str:
        while (result := self.put(item)) == Put.BLOCKED:
            await self.park(self.producers)
        return result

    async def get_wait(self) -> Any:
        while (item := self.get()) is EMPTY:
            if self.closed:
                return CLOSED
            await self.park(self.consumers)
        return item

    async def park(self, line: deque[asyncio.Future[None]]) -> None:
        """Wait in a line."""
        mine = asyncio.get_running_loop().create_future()
        line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine in line:
                line.remove(mine)
            elif mine.done() and not mine.cancelled():
                self.wake(line)  # it was this one's turn: hand it on
            raise

    def close(self) -> None:
        super().close()
        for line in (self.producers, self.consumers):
            for _ in range(len(line)):
                self.wake(line)


class SpinsWhileFull(ParkingEdge, rule="EDGE-110"):
    """Waits by asking again and again."""

    async def put_wait(self, item: Any) -> str:
        while (result := self.put(item)) == Put.BLOCKED:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0)
        return result


class PollsWhileFull(ParkingEdge, rule="EDGE-110"):
    """Waits by asking a hundred times a second."""

    async def put_wait(self, item: Any) -> str:
        while (result := self.put(item)) == Put.BLOCKED:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0.01)
        return result


class TellsBeforeItAppends(ParkingEdge, rule="EDGE-120"):
    """Wakes the consumer, and puts the item a moment later."""

    async def put_wait(self, item: Any) -> str:
        self.wake(self.consumers)
        await asyncio.sleep(0)
        while (result := FaultyEdge.put(self, item)) == Put.BLOCKED:
            await self.park(self.producers)
        return result


class TellsOnlyWhenEmpty(ParkingEdge, rule="EDGE-120"):
    """Wakes a consumer only by the first item, though another may have left since."""

    def put(self, item: Any) -> str:
        was_empty = self.depth() == 0
        result = FaultyEdge.put(self, item)
        if was_empty and result == Put.OK:
            self.wake(self.consumers)
        return result


class TellsOnceForTwo(ParkingEdge, rule="EDGE-120"):
    """Wakes a producer only when the edge was full."""

    def get(self) -> Any:
        was_full = self.depth() == self.spec.capacity
        item = FaultyEdge.get(self)
        if was_full:
            self.wake(self.producers)
        return item


class ServesTheLastWaiterFirst(ParkingEdge, rule="EDGE-121"):
    """Keeps its waiters on a stack."""

    def wake(self, line: deque[asyncio.Future[None]]) -> None:
        line.reverse()
        super().wake(line)
        line.reverse()


class PopsAndThenAwaits(ParkingEdge, rule="EDGE-122"):
    """Awaits something between taking an item and returning it."""

    async def get_wait(self) -> Any:
        item = await super().get_wait()
        await asyncio.sleep(0)
        return item


class LeaksTheSlotOfACancelledWaiter(ParkingEdge, rule="EDGE-122"):
    """Counts a cancelled producer as somebody whose item is still to come."""

    leaked = 0

    def put(self, item: Any) -> str:
        full = self.depth() + self.leaked >= self.spec.capacity
        return Put.BLOCKED if full and self.leaked and not self.closed else super().put(item)

    async def put_wait(self, item: Any) -> str:
        try:
            return await super().put_wait(item)
        except asyncio.CancelledError:
            self.leaked += 1
            raise


class SwallowsCancellation(ParkingEdge, rule="EDGE-122"):
    """Returns normally when it is cancelled."""

    async def put_wait(self, item: Any) -> str:
        try:
            return await super().put_wait(item)
        except asyncio.CancelledError:
            return Put.BLOCKED


class KeepsTheItemOfACancelledWaiter(ParkingEdge, rule="EDGE-122"):
    """Puts the item of a producer that has left."""

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(spec)
        self.left: list[Any] = []

    def get(self) -> Any:
        item = super().get()
        if item is not EMPTY and self.left and not self.closed:
            FaultyEdge.put(self, self.left.pop(0))
        return item

    async def put_wait(self, item: Any) -> str:
        try:
            return await super().put_wait(item)
        except asyncio.CancelledError:
            self.left.append(item)
            raise


class DoesNotPassOnAWakeUp(ParkingEdge, rule="EDGE-122"):
    """Lets a wake-up go with the waiter that was cancelled in the same moment."""

    async def park(self, line: deque[asyncio.Future[None]]) -> None:
        mine = asyncio.get_running_loop().create_future()
        line.append(mine)
        try:
            await mine
        finally:
            if mine in line:
                line.remove(mine)


class ForgetsParkedConsumersOnClose(ParkingEdge, rule="EDGE-124"):
    """Wakes only producers."""

    def close(self) -> None:
        FaultyEdge.close(self)
        for _ in range(len(self.producers)):
            self.wake(self.producers)


class WakesOneOnClose(ParkingEdge, rule="EDGE-124"):
    """Wakes the first of each line."""

    def close(self) -> None:
        FaultyEdge.close(self)
        self.wake(self.producers)
        self.wake(self.consumers)


class AcceptsFromWaitersOnClose(ParkingEdge, rule="EDGE-124"):
    """Puts the items of those whom the close wakes."""

    async def put_wait(self, item: Any) -> str:
        result = self.put(item)
        while result == Put.BLOCKED:
            await self.park(self.producers)
            if self.closed:
                self.ring.items.append(item)
                return Put.CLOSED
            result = self.put(item)
        return result


class WaitsWhateverThePolicy(ParkingEdge, rule="EDGE-125"):
    """Waits for room before it asks the policy."""

    async def put_wait(self, item: Any) -> str:
        while self.depth() >= self.spec.capacity and not self.closed:
            await self.park(self.producers)
        return await super().put_wait(item)


class GivesUpWhenWokenInVain(ParkingEdge, rule="EDGE-125"):
    """Tries once more after it was woken, and then no more."""

    async def put_wait(self, item: Any) -> str:
        result = self.put(item)
        if result == Put.BLOCKED:
            await self.park(self.producers)
            result = self.put(item)
        return result
