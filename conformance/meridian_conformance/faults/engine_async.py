"""Faults of engines in what they do about asynchronous work."""

from __future__ import annotations

from typing import Any

from meridian.engine.ring import BLOCK
from meridian.runtime.workers import PoolWorker
from meridian_conformance.engine.reference import ReferenceEngine
from meridian_conformance.faults.engine import register_engine


class AFailureEmptiesThePool(PoolWorker):
    """Forgets the results that wait for their turn when other work of the node fails."""

    async def _one(self, x: Any, port: str, slot: list[Any]) -> None:
        errors = self.state.errors
        await super()._one(x, port, slot)
        if self.state.errors > errors:
            for other in self._slots:
                other[1] = None


class ForgetsResultsWithoutRoom(PoolWorker):
    """Hands a result on if there is room for it, and does nothing if there is none."""

    def _deliver(self, slot: list[Any]) -> None:
        if any(ring.kind == BLOCK and not ring.room() for ring in self.state.rings):
            slot[1] = None
        super()._deliver(slot)


class FreesEachPlaceTwice(PoolWorker):
    """Frees a place when the work ends, and again when its result is delivered."""

    def _deliver(self, slot: list[Any]) -> None:
        super()._deliver(slot)
        self.state.free += 1


class FreePlacesAreNotTaken(PoolWorker):
    """Takes as much as it may, and then nothing until all of it has ended."""

    def drive(self, rest: Any, out: list[Any], port: str) -> None:
        super().drive(rest, out, port)
        if self._tasks:
            self.state.hold()

    async def _one(self, x: Any, port: str, slot: list[Any]) -> None:
        await super()._one(x, port, slot)
        if len(self._tasks) == 1:  # itself
            self.state.release()


class RestsWhileWorkGoesOn(ReferenceEngine):
    """Says that nothing is due as long as it waits for something."""

    def step(self) -> bool:
        return not (self.work is not None and self.work.in_flight) and super().step()


class DeliversAsItEnds(PoolWorker):
    """Hands results on as they are there, whether order was asked for or not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ordered = False


class WaitsForItsTurnUnasked(PoolWorker):
    """Keeps order also where it wasn't asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ordered = True


for _rule, _part in (
    ("ENGINE-512", AFailureEmptiesThePool),
    ("ENGINE-512", ForgetsResultsWithoutRoom),
    ("ENGINE-513", FreesEachPlaceTwice),
    ("ENGINE-513", FreePlacesAreNotTaken),
    ("ENGINE-514", RestsWhileWorkGoesOn),
    ("ENGINE-515", DeliversAsItEnds),
    ("ENGINE-515", WaitsForItsTurnUnasked),
):
    register_engine(_rule, _part)
