"""What a ready queue implements so that the kit can judge it.

A ready queue says who runs next. It holds *turns*: things that can run for a slice, such as an edge with messages. A turn
belongs to one of three bands and is either idle, queued or running. A backend is one class::

    class Backend:
        capabilities = set()

        def open(self, spec: QueueSpec) -> Queue: ...  # fresh and empty, each time
        def bounds(
            self, spec: QueueSpec
        ) -> tuple[int, int, int]: ...  # the starvation bounds that it promises

and what it opens has four methods: `enqueue`, `pick`, `finish`, `waiting`. With capability ``band_change`` it has one more:
`set_band`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

BANDS: Final = ("CONTROL", "HIGH", "NORMAL")
"""The bands, most urgent first."""

DEFAULT_WEIGHTS: Final = (4, 2, 1)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What queue is to be opened.

    Attributes:
        weights: Shares of CONTROL, HIGH and NORMAL while all have work; each at least 1.
        turns: How many turns there are, idle ones included; they are numbered from 0.
    """

    weights: tuple[int, int, int] = DEFAULT_WEIGHTS
    turns: int = 64

    def control_bound(self) -> int:
        """Return for how many picks of others CONTROL may wait at most: one slice, with the default weights."""
        control, high, normal = self.weights
        return -(-(high + normal) // control)

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use."""
        return {"weights": list(self.weights), "turns": self.turns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QueueSpec:
        """Make one from that form; absent fields have their defaults."""
        control, high, normal = data.get("weights", DEFAULT_WEIGHTS)
        return cls((control, high, normal), data.get("turns", cls().turns))


@runtime_checkable
class Queue(Protocol):
    """What a backend opens. All calls come from one thread; at most one turn runs at a time."""

    def enqueue(self, turn: int, band: str, /) -> None:
        """Say that ``turn`` has something to do.

        An idle turn is queued. Nothing changes for one that is queued already. One that is running is queued once more,
        however often that is said while it runs. ``band`` is the one that the turn has already, unless it is new.
        """
        ...

    def pick(self) -> Any:
        """Take the turn that is to run now, or return `EMPTY`; from here until `finish` it is running."""
        ...

    def finish(self, turn: int, /) -> None:
        """Say that ``turn`` has run its slice."""
        ...

    def waiting(self) -> int:
        """Return how many turns are queued; a running one counts only if it was queued once more."""
        ...


@runtime_checkable
class BandChangingQueue(Queue, Protocol):
    """A queue with capability ``band_change``."""

    def set_band(self, turn: int, band: str, /) -> None:
        """Serve ``turn``, which was enqueued at least once, in another band from now on.

        A queued turn leaves its line and goes on at the end of the new one; one that is idle or running is queued there
        the next time. Nothing changes for one that is in that band already.
        """
        ...


@runtime_checkable
class QueueBackend(Protocol):
    """What a third party writes."""

    capabilities: Collection[str]

    def open(self, spec: QueueSpec, /) -> Queue:
        """Open a fresh queue."""
        ...

    def bounds(self, spec: QueueSpec, /) -> tuple[int, int, int]:
        """Return, for each band, how many picks of other bands it waits for at most while it has work."""
        ...


# Optional methods of a backend:
#
#   line_bound(spec, queued) -> int   a turn that is queued as number `queued` of its band is served at the latest by that
#                                     many picks of its band; by default `queued`, which is first in, first out
#   operations(queue) -> int          how much work the queue has done so far, in any unit that is the same for every call;
#                                     for compiled queues, into which the kit can't look to count
