"""Faults of engines, over Meridian's Python engine."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from meridian.engine.kernel import PythonEngine
from meridian.engine.node import NodeState
from meridian.engine.ring import LimitedRing, Ring
from meridian.engine.step import BUSY, PARKED
from meridian.runtime.workers import PoolWorker
from meridian_conformance.engine.asynchronous import AsynchronousWork
from meridian_conformance.engine.reference import PythonEngines, ReferenceEngine
from meridian_conformance.faults import register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meridian.engine.ready import Turn


class FaultyState(NodeState):
    """What an engine with a mistake knows about a node."""


class FaultyKernel(PythonEngine):
    """An engine with a mistake."""

    state_type: ClassVar[type[NodeState]] = NodeState

    def add_node(self, id: int, name: str, kind: str, fn: Any, ports: dict[str, list[Ring]]) -> NodeState:
        node = self.state_type(self, id, name, kind, fn, ports)
        for rings in ports.values():
            node.rings += rings
        self.nodes[id] = node
        return node


def register_engine(rule: str, of: type[Any]) -> None:
    """Make an engine with a faulty part a fault of ``rule``."""
    parts: dict[str, Any] = {}
    if issubclass(of, LimitedRing):
        parts["limited_ring_type"] = of
    elif issubclass(of, PoolWorker):
        parts["work_type"] = type("Work", (AsynchronousWork,), {"pool_type": of})
    elif issubclass(of, Ring):
        parts["ring_type"] = of
    elif issubclass(of, NodeState):
        parts["engine_type"] = type("Kernel", (FaultyKernel,), {"state_type": of})
    elif issubclass(of, PythonEngine):
        parts["engine_type"] = of
    engine = of if issubclass(of, ReferenceEngine) else type("Engine", (ReferenceEngine,), parts)
    backend = type(
        of.__name__,
        (PythonEngines,),
        {
            "engine_type": engine,
            "name": f"fault {of.__name__}",
            "__doc__": of.__doc__,
            "__module__": of.__module__,
        },
    )
    register(backend, rule)


class LosesAParkedEmission(FaultyState):
    """Takes the last parked emission off before it is delivered, and lets the node run."""

    def unpark(self) -> int:
        if self.parked and len(self.parked) > 1:
            self.parked.pop()
        return super().unpark()


class HoldsMoreThanItsCapacity(Ring):
    """Has room for one more than its capacity where results are handed on."""

    def offer(self, items: list[Any]) -> int:
        self.space += 1
        try:
            return super().offer(items)
        finally:
            self.space -= 1


class CountsMergedAsDelivered(ReferenceEngine):
    """Counts what was merged as if it had been delivered too."""

    def counters(self, link: int) -> Any:
        told = dict(super().counters(link))
        told["delivered"] += told["merged"]
        return told


class FansOutToWhoHasRoom(FaultyState):
    """Puts an emission on those edges that have room, and parks it for the others."""

    def emit_now(self, port: str, message: Any) -> Any:
        rings = self.ports[port]
        if len(rings) < 2 or self.parked:
            return super().emit_now(port, message)
        self._flush_box(port)
        self._put_all(rings, [message])
        return message


class DeliversNewestFirst(Ring):
    """Takes the newest items first."""

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        self.items.reverse()
        xs = super().take(k, put_back)
        self.items.reverse()
        return xs


class DeliversTwiceAfterABatchWasCutShort(Ring):
    """Puts the wrong items back when a batch ends early: from one before, to the last but one."""

    in_hand: tuple[Any, ...] = ()

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        xs = super().take(k, put_back)
        self.in_hand = tuple(xs)
        return xs

    def settle(self, k: int, rest: Sequence[Any]) -> None:
        first = k - len(rest)
        super().settle(k, self.in_hand[first - 1 : -1] if rest and first else rest)


class ParkedLastFirst(FaultyState):
    """Keeps what is parked on a stack."""

    def unpark(self) -> int:
        if self.parked:
            self.parked.reverse()
        n = super().unpark()
        if self.parked:
            self.parked.reverse()
        return n


class RunsNodesWithParkedEmissions(FaultyState):
    """Doesn't hold a node whose emissions are parked."""

    def park(self, port: str | Ring, items: list[Any], first: bool = False) -> None:
        super().park(port, items, first)
        self.held &= ~PARKED


class ControlWaitsInLineWithData(FaultyKernel):
    """Serves CONTROL in the band of data."""

    def turn(self, node: int, band: int) -> Turn:
        return super().turn(node, 2 if band == 0 else band)


class HoldsControlOfPausedNodesBack(FaultyState):
    """Gives a paused node nothing at all."""

    def pause(self, port: str | None = None) -> None:
        super().pause(port)
        self.held |= BUSY

    def unpause(self, port: str | None = None) -> None:
        self.held &= ~BUSY
        super().unpause(port)


class _Stack(deque[Any]):
    def popleft(self) -> Any:
        return self.pop()


class ServesTheSameEdgeAgain(FaultyKernel):
    """Runs who was queued last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue.lines = (_Stack(), _Stack(), _Stack())


class TakesWhateverThereIs(Ring):
    """Takes all that an edge holds, whatever the slice's limit."""

    def take(self, k: int, put_back: bool = False) -> list[Any]:
        return super().take(max(k, len(self.items)), put_back)


class DoesNotRecordFailures(FaultyState):
    """Swallows what a node's code raises."""

    def fail(self, *args: Any, **kwargs: Any) -> None:
        super().fail(*args, **kwargs)
        self.errors -= 1


class RecordsEachFailureTwice(FaultyState):
    """Records a failure where it is caught, and again where it is reported."""

    def fail(self, *args: Any, **kwargs: Any) -> None:
        super().fail(*args, **kwargs)
        self.errors += 1


class ForgetsOneOfTwoWhoWait(Ring):
    """Wakes the first who waits for room, and forgets the others."""

    def release(self, own: bool) -> None:
        if self.waiters:
            del self.waiters[1:]
        super().release(own)


class _DeafToControl(Ring):
    def take_control(self, k: int) -> list[Any]:
        waiters, self.waiters = self.waiters, None
        try:
            return super().take_control(k)
        finally:
            self.waiters = waiters


class _LooksAfterNobody(PythonEngine):
    def _let_on(self) -> None:
        self.waited.clear()


class ControlMakesNoRoom(ReferenceEngine):
    """Doesn't wake who waits for room when it was CONTROL that left, and doesn't look after them later either."""

    ring_type = _DeafToControl
    engine_type = _LooksAfterNobody


class PauseIsIgnored(FaultyState):
    """Goes on with a paused node."""

    def pause(self, port: str | None = None) -> None:
        del port


class ResumeForgetsWhatWasPutOff(FaultyState):
    """Forgets what came for a node while it was paused."""

    def unpause(self, port: str | None = None) -> None:
        self.deferred = None
        super().unpause(port)


class SpinsWhileItWaits(Ring):
    """Tries again and again instead of waiting for room."""

    def wait(self, turn: Turn) -> None:
        turn.queued = True
        turn.line.append(turn)


for _rule, _part in (
    ("ENGINE-501", LosesAParkedEmission),
    ("ENGINE-501", HoldsMoreThanItsCapacity),
    ("ENGINE-501", CountsMergedAsDelivered),
    ("ENGINE-502", FansOutToWhoHasRoom),
    ("ENGINE-503", DeliversNewestFirst),
    ("ENGINE-503", DeliversTwiceAfterABatchWasCutShort),
    ("ENGINE-503", ParkedLastFirst),
    ("ENGINE-504", RunsNodesWithParkedEmissions),
    ("ENGINE-505", ControlWaitsInLineWithData),
    ("ENGINE-505", HoldsControlOfPausedNodesBack),
    ("ENGINE-506", ServesTheSameEdgeAgain),
    ("ENGINE-507", TakesWhateverThereIs),
    ("ENGINE-508", DoesNotRecordFailures),
    ("ENGINE-508", RecordsEachFailureTwice),
    ("ENGINE-509", ForgetsOneOfTwoWhoWait),
    ("ENGINE-509", ControlMakesNoRoom),
    ("ENGINE-510", PauseIsIgnored),
    ("ENGINE-510", ResumeForgetsWhatWasPutOff),
    ("ENGINE-511", SpinsWhileItWaits),
):
    register_engine(_rule, _part)
