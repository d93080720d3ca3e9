"""Where time comes from.

A run owns one clock. Everything inside it (tick timers, slice caps, ages, timestamps) asks that clock, so that
`meridian.testing` can put a virtual one in its place.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as a run sees it."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back; only differences mean something."""
        ...

    def time(self) -> float:
        """Wall-clock seconds since the epoch, for timestamps."""
        ...


class SystemClock:
    """The machine's own time."""

    monotonic_ns = staticmethod(time.perf_counter_ns)
    time = staticmethod(time.time)
