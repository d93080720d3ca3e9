"""Other threads of the process get the interpreter, however busy a run is.

CPython lets a thread in that waited for the interpreter for 5 ms without its being let go (`sys.setswitchinterval`). A busy
loop does let it go, for a microsecond each time it polls: that wakes the waiting thread, which comes too late and begins to
wait anew. With slices shorter than 5 ms it would wait for as long as the graph is busy. So a busy run really pauses, now and
then, for as long as a thread takes to wake up.

Each vain attempt costs both threads a wake-up. Who has to come in several times in a row, as one does that serves a client, says
so by `expect_more`, and is let in sooner.
"""

from __future__ import annotations

from threading import active_count
from time import monotonic_ns, sleep, thread_time_ns

EVERY_NS = 10_000_000
"""How often a busy run pauses."""

SOON_NS = 1_000_000
"""How often while somebody is expected."""

EXPECTED_NS = 5_000_000
"""For how long after the last `expect_more`."""

PAUSE_S = 1e-6
"""How long at least: the system makes some 50 µs of it. They cost half a percent, and nothing where no other thread is."""

BUSY = 0.5
"""Whose thread computed for less than this share of the time waited for something, or for a processor, and for long enough: meanwhile
the others were let in."""


_expected_until_ns = 0


def expect_more() -> None:
    """Let busy runs know that the calling thread will want the interpreter again soon. Call it from any thread."""
    global _expected_until_ns
    _expected_until_ns = monotonic_ns() + EXPECTED_NS


class OtherThreads:
    """Lets the other threads in, from within a run's slices."""

    __slots__ = ("_computed_ns", "_since_ns")

    def __init__(self) -> None:
        self._since_ns = monotonic_ns()
        self._computed_ns = thread_time_ns()

    def let_in(self) -> None:
        """Pause if the loop's thread has kept the interpreter for itself and another thread may want it."""
        now_ns = monotonic_ns()
        passed_ns = now_ns - self._since_ns
        if passed_ns < SOON_NS or (passed_ns < EVERY_NS and now_ns >= _expected_until_ns):
            return
        computed_ns = thread_time_ns()
        busy = computed_ns - self._computed_ns > BUSY * passed_ns
        self._since_ns, self._computed_ns = now_ns, computed_ns
        if busy and active_count() > 1:
            sleep(PAUSE_S)
