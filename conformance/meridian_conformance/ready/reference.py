"""Meridian's own ready queue: `meridian.engine.ready.ReadyQueue`, asked as the engine asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian.engine.ready import ReadyQueue, Turn
from meridian_conformance.contract import EMPTY, Capability
from meridian_conformance.ready.contract import BANDS, QueueSpec
from meridian_conformance.reference import rust_engine

if TYPE_CHECKING:
    from collections.abc import Collection


class ReferenceQueue:
    """One ready queue of Meridian's.

    What is the engine's rather than the queue's is written here as it is there: a turn is queued unless its ``queued``
    says so already (`PythonEngine.ready` and its callers), and where only NORMAL has work the queue isn't asked
    (`PythonEngine.run`).
    """

    queue_type: type[ReadyQueue] = ReadyQueue
    turn_type: type[Turn] = Turn

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self.queue = self.queue_type(spec.weights)
        self.turns: dict[int, Turn] = {}

    def enqueue(self, turn: int, band: str) -> None:
        known = self.turns.get(turn)
        if known is None:
            number = BANDS.index(band)
            known = self.turns[turn] = self.turn_type(turn, number)
            known.line = self.queue.lines[number]
        if not known.queued:
            known.queued = True
            known.line.append(known)

    def set_band(self, turn: int, band: str) -> None:
        self.queue.set_band(self.turns[turn], BANDS.index(band))

    def pick(self) -> Any:
        control, high, normal = self.queue.lines
        if control or high:
            turn = self.queue.pick()
        elif normal:
            turn = normal.popleft()
        else:
            return EMPTY
        turn.queued = False
        return turn.node

    def finish(self, turn: int) -> None:
        del turn

    def waiting(self) -> int:
        return len(self.queue)


class ReferenceQueues:
    """Opens Meridian's own ready queues."""

    name = "python"
    capabilities: Collection[str] = frozenset({Capability.BAND_CHANGE})
    queue_type: type[ReferenceQueue] = ReferenceQueue

    def open(self, spec: QueueSpec) -> ReferenceQueue:
        """Open a ready queue."""
        return self.queue_type(spec)

    def bounds(self, spec: QueueSpec) -> tuple[int, int, int]:
        """Return what `meridian.engine.ready` promises."""
        total = sum(spec.weights)
        return spec.control_bound(), total, total


class RustQueues(ReferenceQueues):
    """Opens the ready queue of Meridian's Rust engine.

    Raises:
        EngineError: it isn't installed.
    """

    name = "rust"

    def __init__(self) -> None:
        kernel = rust_engine()
        kinds = {"queue_type": kernel.queue_type, "turn_type": kernel.turn_type}
        self.queue_type = type("RustQueue", (ReferenceQueue,), kinds)
