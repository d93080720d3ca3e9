"""v1's name for the ready queue, as a thin view of the engine's; kept for code that drove it directly.

New code has no use for it: a `Scheduler` has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.core.runtime_plan import PriorityBand
from meridian.engine.ready import ReadyQueue, Turn

__all__ = ["PriorityQueueConfig", "PrioritySchedulingQueue"]

__path__: list[str] = []  # v1's inner modules, see `meridian._v1_paths`


@dataclass(slots=True)
class PriorityQueueConfig:
    """How a `PrioritySchedulingQueue` serves.

    Attributes:
        fairness_ratio: Shares of CONTROL, HIGH and NORMAL while all have work.
        max_batch_per_node: Kept for v1; has no effect on a queue.
    """

    fairness_ratio: tuple[int, int, int] = (4, 2, 1)
    max_batch_per_node: int = 8


class PrioritySchedulingQueue:
    """Names that wait for their turn, by band; see `meridian.engine.ready` for who comes next.

    Args:
        config: The shares.
    """

    def __init__(self, config: PriorityQueueConfig) -> None:
        self._queue = ReadyQueue(config.fairness_ratio)
        self._turns: dict[str, Turn] = {}
        self._names: list[str] = []

    def enqueue_runnable(self, name: str, band: PriorityBand) -> None:
        """Let ``name`` wait in ``band``; one that waits already moves to the new band, or keeps its place."""
        turn = self._turns.get(name)
        if turn is None:
            turn = self._turns[name] = Turn(len(self._names), 3 - band)
            self._names.append(name)
        elif turn.queued:
            if turn.band == 3 - band:
                return
            self._queue.lines[turn.band].remove(turn)
        turn.band = 3 - band
        turn.queued = True
        self._queue.lines[turn.band].append(turn)

    def get_next_runnable(self) -> tuple[str, PriorityBand] | None:
        """Take who is next, or return ``None`` when nobody waits."""
        if not self.has_runnable_nodes():
            return None
        turn = self._queue.pick()
        turn.queued = False
        return self._names[turn.node], PriorityBand(3 - turn.band)

    def has_runnable_nodes(self) -> bool:
        """Return whether anybody waits."""
        return len(self._queue) > 0

    def get_queue_depths(self) -> dict[PriorityBand, int]:
        """Return how many wait in each band."""
        return {PriorityBand(3 - band): len(line) for band, line in enumerate(self._queue.lines)}

    def clear(self) -> None:
        """Let nobody wait any more."""
        for line in self._queue.lines:
            for turn in line:
                turn.queued = False
            line.clear()
