"""Other threads of the process get the interpreter, however busy a run is.

CPython lets a thread in that waited for the interpreter for 5 ms without its being let go (`sys.setswitchinterval`). A busy
loop does let it go, for a microsecond each time it polls: that wakes the waiting thread, which comes too late and begins to
wait anew. With slices shorter than 5 ms it would wait for as long as the graph is busy. So a busy run really pauses, now and
then, for as long as a thread takes to wake up.
"""

from __future__ import annotations

from threading import active_count
from time import monotonic_ns, sleep, thread_time_ns

EVERY_NS = 20_000_000
"""How often a busy run pauses."""

PAUSE_S = 50e-6
"""How long. The system adds about as much again; together they cost half a percent, and nothing where no other thread is."""

BUSY = 0.9
"""Whose thread computed for less than this share of the time waited for something: meanwhile the others were let in."""


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
        if passed_ns < EVERY_NS:
            return
        computed_ns = thread_time_ns()
        busy = computed_ns - self._computed_ns > BUSY * passed_ns
        self._since_ns, self._computed_ns = now_ns, computed_ns
        if busy and active_count() > 1:
            sleep(PAUSE_S)
