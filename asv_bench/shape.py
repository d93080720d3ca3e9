"""What the workloads have in common on both sides: their sizes, the stopwatch, the checksum."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from math import ceil

Measure = Callable[[], Awaitable[float]]
"""Takes one sample."""
Sides = tuple[Measure, Measure]
"""Ours, and what it is compared with."""

CAPACITY = 1024
"""Of every edge or queue that isn't about capacity."""
MIDDLE = 3
"""Pass-through nodes of the chain (W1) and of the ping (W3)."""
CHAIN_HOPS = MIDDLE + 1
FAN = 8
"""Branches of the fan (W2)."""
FAN_HOPS = 2 * FAN
DEPTH = 10
"""Nodes of each chain of the sparse graph (W4, W5)."""
SPARSE_HOPS = DEPTH + 1
BATCH = 64
"""Items of one hand-made batch."""
WORK = 700
"""Numbers that a node with work adds up: about 10 µs, where a plain call takes 50 ns."""


def work(x: int) -> int:
    """What a node with something to do does."""
    sum(range(WORK))
    return x


class WrongResultError(Exception):
    """A workload did not deliver what it was given: its time means nothing."""


def verify(what: str, got: object, want: object) -> None:
    """Raise `WrongResultError` unless a checksum is right."""
    if got != want:
        raise WrongResultError(f"{what}: the checksum is {got!r} and ought to be {want!r}")


def triangle(n: int) -> int:
    """Return the sum of the numbers 0 to n - 1."""
    return n * (n - 1) // 2


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least ``share`` of all don't exceed."""
    return float(sorted(samples)[max(0, ceil(len(samples) * share) - 1)])


def same(x: int) -> int:
    """What a node with nothing to do does."""
    return x


def yardstick() -> float:
    """Return what a plain call costs now, in nanoseconds of CPU time: how fast the machine is at this moment.

    Where two processors share a core, a busy neighbour makes everything slower by up to half, CPU time included.
    """
    best = float("inf")
    calls = 20_000
    for _ in range(3):
        began = time.process_time_ns()
        for i in range(calls):
            same(i)
        best = min(best, time.process_time_ns() - began)
    return best / calls


class Stopwatch:
    """CPU time of this process, all threads together.

    CPU and not wall time, because other work on the machine must not count. Garbage of what ran before is collected
    first; then the collector works as it does for a user.
    """

    __slots__ = ("began", "ns")

    def start(self) -> None:
        gc.collect()
        self.ns = 0
        self.began = time.process_time_ns()

    def stop(self) -> None:
        self.ns = time.process_time_ns() - self.began


class StandingClock:
    """A clock that always says the same, at the least cost that Python can have."""

    def __init__(self) -> None:
        self.monotonic_ns = repeat(0).__next__
        self.time = time.time
