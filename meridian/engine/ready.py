"""Who runs next.

The unit of scheduling is a `Turn`: an edge with messages, a source that may produce, a tick that is due. A turn is queued
at the moment it gets something to do, and only then; there is no scan, so idle nodes cost nothing.

Bands share the engine by smooth weighted round robin: each pick adds its weight to every band that has work, takes the
band with most, and charges it the sum. With the default weights 4, 2, 1 and work in all three bands that serves
C H C N C H C, so CONTROL waits for one slice of the others at most; in general for ``ceil((high + normal) / control)``.
A band whose work has run out forgets what it had saved up, so nothing can be hoarded. What the others saved up while a band
came and went could make it wait longer than its turn in a round: one that was passed over for as many picks as its
weight leaves to the others goes first all the same. So a band with work waits for ``sum(weights)`` picks of others at most,
whatever comes and goes: the starvation bound (`conformance/formal/ready.pml` is the model of it).

Within a band turns are first in, first out, so every one of n waiting turns is served within n picks of its band.

A turn may change its band while it waits. If nothing is left in the old one, the round begins anew: savings that are
forgotten without a pick would stay as debts of the other bands, without a bound, and be paid under the next steady load.

Source: the smooth weighted balancing of nginx; differs by forgetting the credit of idle bands.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from meridian.engine.ring import Ring

CONTROL_BAND, HIGH_BAND, NORMAL_BAND = 0, 1, 2


class Turn:
    """Something that can run a slice.

    Attributes:
        run: Runs it; returns how many messages were handled.
        line: The waiting line of its band.
        band: 0 CONTROL, 1 HIGH, 2 NORMAL.
        batch: Most messages of the next slice; adapted to how long slices take.
        queued: It is in a line, or waits for room, or is put off until its node is free: don't queue it again.
        node: Id of the node whose time it takes.
        ring: The ring whose data it serves, or ``None``.
        slices: Slices run so far.
        busy_ns: Nanoseconds they took.
        waits_for: The ring whose room it waits for, or ``None``.
        since: When that wait began, in nanoseconds.
    """

    __slots__ = (
        "band",
        "batch",
        "busy_ns",
        "line",
        "node",
        "queued",
        "ring",
        "run",
        "since",
        "slices",
        "waits_for",
    )

    def __init__(self, node: int, band: int, batch: int = 1) -> None:
        self.node = node
        self.band = band
        self.batch = batch
        self.queued = False
        self.slices = self.busy_ns = self.since = 0
        self.ring: Ring | None = None
        self.waits_for: Ring | None = None
        self.run: Callable[[], int]
        self.line: deque[Turn]


class ReadyQueue:
    """Turns that are due, by band.

    Args:
        weights: How many slices CONTROL, HIGH and NORMAL get of each round in which all have work; each at least 1.
        random: When given, the next turn of a band is drawn from it instead of first in, first out: tests use it to
            show that nothing depends on the order.
    """

    def __init__(self, weights: tuple[int, int, int] = (4, 2, 1), random: Random | None = None) -> None:
        self.lines: tuple[deque[Turn], deque[Turn], deque[Turn]] = (deque(), deque(), deque())
        self.weights = weights
        self.random = random
        self._saved = [0, 0, 0]
        self._patience = [-(-(sum(weights) - weight) // weight) for weight in weights]
        self._passed_over = [0, 0, 0]  # how often in a row the band had work and another one was picked

    def __len__(self) -> int:
        return sum(map(len, self.lines))

    def set_band(self, turn: Turn, band: int) -> None:
        """Serve ``turn`` in another band; one that is in a line goes on behind those of the new band."""
        if turn.band == band:
            return  # it keeps its place
        line = turn.line
        waits = turn.queued and turn in line
        turn.line = self.lines[band]
        if waits:
            line.remove(turn)
            turn.line.append(turn)
            if not line:
                self._saved[:] = 0, 0, 0
                self._passed_over[turn.band] = 0
        turn.band = band

    def pick(self) -> Turn:
        """Take the turn that is to run next.

        Raises:
            IndexError: none is due.
        """
        saved, passed_over = self._saved, self._passed_over
        best = late = -1
        total = 0
        for band, line in enumerate(self.lines):
            if line:
                weight = self.weights[band]
                total += weight
                saved[band] += weight
                if best < 0 or saved[band] > saved[best]:
                    best = band
                if passed_over[band] >= self._patience[band] and (
                    late < 0 or (late and passed_over[band] > passed_over[late])
                ):
                    late = band
                passed_over[band] += 1
            else:
                saved[band] = passed_over[band] = 0
        if best < 0:
            raise IndexError("no turn is due")
        if late >= 0:
            best = late
        saved[best] -= total
        passed_over[best] = 0
        line = self.lines[best]
        if self.random is not None and len(line) > 1:
            line.rotate(-self.random.randrange(len(line)))
        return line.popleft()
