"""The watch: a thread that reads memory, descriptors and threads while a scenario is played, and sees when nothing moves."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

if TYPE_CHECKING:
    from stress.scenario import Meter

EVERY_S: Final = 0.05
MOST_SAMPLES: Final = 1_200
"""When there are more, every other is dropped and the next come half as often. Their place is taken when the watch begins, so
that it doesn't itself look like a leak."""

STILL_LOOKS: Final = 600
"""So many looks in a row at which nothing had moved, half a minute of them, and the play is stuck. It is counted in looks and not
in seconds, since a process that gets no time doesn't look either."""


class Sample(NamedTuple):
    """What was read at one moment.

    Attributes:
        at_s: Seconds since the watch began.
        messages: Messages that had arrived.
        depth: Most messages that waited at any look since the sample before.
        rss: Bytes in memory.
        descriptors: Open files and sockets.
        threads: Of the process.
    """

    at_s: float
    messages: int
    depth: int
    rss: int
    descriptors: int
    threads: int


class Watch(threading.Thread):
    """Reads every 50 ms, or less often in a long play.

    Args:
        meter: What is played.
        stuck: Called once, on this thread, when nothing moves any more.
    """

    def __init__(self, meter: Meter, stuck: Callable[[], None]) -> None:
        super().__init__(name="stress-watch", daemon=True)
        self._table = array("d", bytes(8 * len(Sample._fields) * MOST_SAMPLES))
        self._filled = 0
        self._meter = meter
        self._stuck = stuck
        self._process = psutil.Process()
        self._over = threading.Event()
        self._reading = threading.Lock()
        self._began = time.monotonic()

    @property
    def samples(self) -> list[Sample]:
        """What was read so far, oldest first."""
        width = len(Sample._fields)
        rows = (self._table[i * width : (i + 1) * width] for i in range(self._filled))
        return [Sample(at_s, *map(int, rest)) for at_s, *rest in rows]

    def rss(self) -> int:
        """Return the bytes of this process that are in memory."""
        return int(self._process.memory_info().rss)

    def settled_rss(self) -> int:
        """Return the same without what is only kept for later: after a collection, and with free pages given back.

        The latter where the C library can (glibc): what it keeps depends on chance, by megabytes.
        """
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        return self.rss()

    def open_descriptors(self) -> int:
        """Return how many there are; those of the watch itself don't count."""
        with self._reading:
            return int(self._process.num_fds())

    def read(self) -> Sample:
        """Read everything once."""
        deepest, self._meter.deepest = self._meter.deepest, 0
        with self._reading:
            return Sample(
                time.monotonic() - self._began,
                self._meter.messages,
                deepest,
                self.rss(),
                int(self._process.num_fds()),
                int(self._process.num_threads()),
            )

    def run(self) -> None:
        every, still, seen = EVERY_S, 0, -1
        keep = 1
        looks = 0
        while not self._over.wait(every):
            looks += 1
            if looks % keep == 0:
                self._keep(self.read())
            if self._filled == MOST_SAMPLES:
                self._thin_out()
                keep *= 2
            still = still + 1 if self._meter.beats == seen else 0
            seen = self._meter.beats
            if still == STILL_LOOKS:
                self._stuck()

    def close(self) -> None:
        """Stop. A play that was over at once has been read once nevertheless."""
        self._over.set()
        self.join()
        if not self._filled:
            self._keep(self.read())

    def _keep(self, sample: Sample) -> None:
        width = len(sample)
        self._table[self._filled * width : (self._filled + 1) * width] = array("d", sample)
        self._filled += 1

    def _thin_out(self) -> None:
        """Drop every other sample."""
        width = len(Sample._fields)
        for i in range(self._filled // 2):
            self._table[i * width : (i + 1) * width] = self._table[2 * i * width : (2 * i + 1) * width]
        self._filled //= 2
