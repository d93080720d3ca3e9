"""How long items spend on an edge: timed for a while after each look, and not at all while nobody looks.

**What is seen.** Any change of a ring happens in a section (see `ring`), and the thread of the engine looks at a flag at the
beginning of each. While hops are timed that flag is up, so each section begins by telling `Hops` how many items have come
to the data lane and how many have left it. What changed since the section before happened in that one, and at the time
when it began. So no item carries a mark, nothing is kept per message, and while the flag is down nothing is done at all.

**For how long.** Each look pays for the next `TO_COME` sections, in which what comes is noted, batch by batch, and for so many
more (`TO_GO` in all) in which what was noted may leave. What is still there when those are used up is followed up by the
next look: it left at an even pace in between. On an edge with fewer sections between two looks every item is timed.

**Whom it stands for.** All items that come within those sections are timed, each counts once, and how long they take doesn't
decide whether they are. Lost items give no time; one that others were merged into counts from when the first of them came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TO_COME: Final = 16
"""For how many sections after a look that which comes is noted."""

TO_GO: Final = 64
"""For how many sections after a look that which leaves is noted."""

MOST_UNDER_WAY: Final = 512
"""Most batches that are noted at a time; while there are more, new ones aren't timed."""

_FINE: Final = 4
"""Buckets halve an octave so many times: a percentile is off by 1/32 at most."""


class Histogram:
    """How often which time was measured, in buckets that are linear within each octave.

    Attributes:
        counts: How many fell into each bucket. No more than 1,000 buckets ever, for times up to 292 years.
        n: How many there are.
        most: The longest, exactly.
    """

    __slots__ = ("_known", "counts", "most", "n")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.n = self.most = 0
        self._known: tuple[int, tuple[float, ...], tuple[int, ...]] = (0, (), ())

    def add(self, ns: int, n: int = 1) -> None:
        """Count ``n`` times of ``ns`` nanoseconds each."""
        bucket = _bucket(ns)
        self.counts[bucket] = self.counts.get(bucket, 0) + n
        self.n += n
        self.most = max(self.most, ns)

    def percentiles(self, *shares: float) -> tuple[int, ...]:
        """Return for each of ``shares``, in rising order, the time that this share of all took at most, in nanoseconds.

        Off by no more than 1/32 of it, and exact below 32 ns. All zero if there are none.
        """
        known = self._known
        if known[:2] == (self.n, shares):
            return known[2]
        counts = self.counts.copy()  # made at once: another thread may add
        buckets = sorted(counts)
        up_to = list(accumulate(map(counts.__getitem__, buckets)))
        total = up_to[-1] if up_to else 0
        found = tuple(
            min(_middle(buckets[bisect_left(up_to, share * total)]), self.most) if total else 0
            for share in shares
        )
        self._known = total, shares, found
        return found


def _bucket(ns: int) -> int:
    shift = max(ns.bit_length() - _FINE - 1, 0)
    return (shift << _FINE) + (ns >> shift)


def _middle(bucket: int) -> int:
    shift = max((bucket >> _FINE) - 1, 0)
    return (bucket - (shift << _FINE) << shift) + (1 << shift >> 1)


class Hops:
    """The times of one edge's items.

    Positions number the items of the data lane in the order in which they came, from when the ring was attached on. They only go
    forward: what is told late, by a thread that read the counts before another one told newer ones, changes nothing.

    Args:
        clock: Nanoseconds.

    Attributes:
        times: What was measured.
    """

    __slots__ = (
        "_alone",
        "_arrivals",
        "_at",
        "_came",
        "_clock",
        "_gone",
        "_kept",
        "_kept_at",
        "_left",
        "_on",
        "_to_come",
        "_to_go",
        "times",
    )

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._alone = Lock()
        """Held by the one that notes or looks. The Rust ring doesn't keep them apart: threads take turns within this code."""
        self.times = Histogram()
        self._on = False
        self._arrivals: deque[tuple[int, int, int]] = deque()
        """Of each batch the first position, the one behind its last, and when it came. One without items says by when
        whatever lies before it had come."""
        self._at = 0
        self._came = self._left = self._gone = self._kept = self._kept_at = 0
        self._to_come = self._to_go = 0

    def note(self, came: int, left: int, gone: int, kept: int) -> bool:
        """A section begins.

        Args:
            came: Items that have come to the data lane so far.
            left: Of them, those that have left it.
            gone: Of those, the lost ones.
            kept: And those of a running batch that may still come back.

        Returns:
            Whether to tell of the next one, too.
        """
        if not self._alone.acquire(blocking=False):
            return True  # somebody looks at this moment; the next section tells of this one, too
        try:
            return self._note(came, left, gone, kept)
        finally:
            self._alone.release()

    def _note(self, came: int, left: int, gone: int, kept: int) -> bool:
        before, self._at = self._at, self._clock()
        if came > self._came:
            if self._to_come >= 0 and len(self._arrivals) < MOST_UNDER_WAY:
                self._arrivals.append((self._came, came, before))
            self._came = came
        if left - kept > self._left:
            # What was kept left when its batch was taken: in the section before the one in which it was first seen.
            self._leave(left - kept, gone, self._kept_at if self._kept else before)
        if kept and not self._kept:
            self._kept_at = before
        self._kept = kept
        self._to_come -= 1
        self._to_go -= 1
        self._on = self._to_come >= 0 or (self._to_go > 0 and bool(self._arrivals))
        return self._on

    def look(self, came: int, left: int, gone: int, kept: int) -> int | None:
        """Somebody looks, between two sections: time the next ones.

        Args: as for `note`.

        Returns:
            Since when, at least, the oldest data has waited; ``None`` if there is none, or it was never seen before.
        """
        if not self._alone.acquire(blocking=False):
            return None  # the next look will do
        try:
            return self._look(came, left, gone, kept)
        finally:
            self._alone.release()

    def _look(self, came: int, left: int, gone: int, kept: int) -> int | None:
        if self._on:
            self._note(came, left, gone, kept)
        else:
            self._catch_up(left - kept, gone)
            self._came, self._kept = max(came, self._came), 0
        self._on = True
        self._to_come, self._to_go = TO_COME, TO_GO
        arrivals = self._arrivals
        since = next((at for _, end, at in arrivals if end > left), None) if came > left else None
        if not arrivals or arrivals[-1][1] < came:
            if len(arrivals) > MOST_UNDER_WAY and arrivals[-1][0] == arrivals[-1][1]:
                arrivals.pop()
            arrivals.append((came, came, self._at))
        return since

    def _catch_up(self, left: int, gone: int) -> None:
        """Follow up what left while nobody looked: at an even pace; if some of it was lost, nobody knows which."""
        start, before = self._left, self._at
        self._at = now = self._clock()
        if left <= start:
            return
        if gone > self._gone:
            self._gone = gone - (left - start)  # as if all of them were
            self._leave(left, gone, now)
            return
        pace = (now - before) / (left - start)
        for first, end, _ in tuple(self._arrivals):
            if first >= left:
                break
            last = min(end, left)
            if last > start:
                middle = (max(first, start) + last) / 2 - start
                self._leave(last, gone, before + round(middle * pace))
        self._leave(left, gone, now)

    def _leave(self, left: int, gone: int, at: int) -> None:
        """All before ``left`` have left, at ``at``; the first of them were lost, if more are ``gone`` than before."""
        seq = self._left + gone - self._gone
        self._left, self._gone = left, gone
        arrivals = self._arrivals
        while arrivals:
            first, end, came_at = arrivals[0]
            n = min(end, left) - max(first, seq)
            if n > 0:
                self.times.add(max(at - came_at, 0), n)
            if end > left:
                break
            arrivals.popleft()
