"""What one thing costs over another, on a machine that does other work too: processor time, in turns, in the same moments.

A B B A and B A A B, so that whatever drifts hits both; processor time rather than time on the wall, so that others on the
machine don't count. Each such quad gives a ratio; judged is the median of the ratios, with an interval by resampling. A
control of two things alike, measured the same way, says whether the machine can be judged on at all.

An interval that is wholly above the budget fails, one that is wholly within it passes. Otherwise there are twice as many quads,
up to four times; whoever isn't told apart by then is inconclusive: that is what the machine has to answer for, not the thing.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import thread_time_ns
from typing import Final

SAMPLE_NS: Final = 20_000_000
QUADS: Final = 40
DOUBLINGS: Final = 2
RESAMPLES: Final = 1_000

FIT: Final = (0.97, 1.03)
"""Where the interval of two things alike has to lie, or the machine is unfit to judge on."""

Sample = Callable[[int], int]
"""Does so many operations; returns the nanoseconds of processor time that they took."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a median of ratios lies with 95 % confidence."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def fit(self) -> bool:
        """Whether a control of two things alike is as near to 1 as it has to be."""
        return FIT[0] <= self.low and self.high <= FIT[1]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        ratio: The cost of the one over that of the other.
        control: The same for two of the other.
        quads: From how many quads.
        budget: What the ratio may be at most.
    """

    ratio: Interval
    control: Interval
    quads: int
    budget: float

    @property
    def decided(self) -> bool:
        """Whether it is within the budget or beyond, for sure."""
        return self.broken or (self.control.fit and self.ratio.high <= self.budget)

    @property
    def broken(self) -> bool:
        """Whether it is beyond the budget, even if the control's error is all in its disfavour."""
        unfit = max(self.control.high, 1 / self.control.low)
        return self.ratio.low > self.budget * (1.0 if self.control.fit else unfit)

    def __str__(self) -> str:
        told = f"ratio {self.ratio}, budget {self.budget}, {self.quads} quads"
        if self.decided:
            return told
        why = (
            "the budget lies within the interval"
            if self.control.fit
            else f"two alike differ by as much as {self.control} on this machine"
        )
        return f"{why}: {told}"


def compare(
    base: Sample, twin: Sample, other: Sample, budget: float, *, quads: int | None = None, charge: float = 1.0
) -> Measured:
    """Measure ``other`` against ``base``, and ``twin`` as the control, with as many quads as it takes to decide.

    Args:
        base: What it is held against.
        twin: The same once more.
        other: What is judged.
        budget: What it may cost at most, as a multiple of the base.
        quads: How many there are at first; `QUADS` by default.
        charge: What the cost of ``other`` is multiplied with, for what it does too seldom to happen within a sample.
    """
    first = quads or QUADS
    n = batch(base)
    ratios: list[float] = []
    controls: list[float] = []
    with uncollected():
        while True:
            for _ in range(len(ratios) or first):
                flipped = len(ratios) % 2 == 1
                ratios.append(_quad(base, other, n, flipped) * charge)
                controls.append(_quad(base, twin, n, flipped))
            measured = Measured(interval(ratios), interval(controls), len(ratios), budget)
            if measured.decided or measured.quads >= first << DOUBLINGS:
                return measured


def timed(work: Callable[[int], object]) -> Sample:
    """Return what does the work and says how long the processor of this thread took."""

    def sample(n: int) -> int:
        before = thread_time_ns()
        work(n)
        return thread_time_ns() - before

    return sample


@contextmanager
def uncollected() -> Generator[None]:
    """Keep the collector off for a while."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def batch(sample: Sample) -> int:
    """Return how many operations take `SAMPLE_NS` at least."""
    n = 256
    while sample(n) < SAMPLE_NS:
        n *= 2
    return n


def _quad(one: Sample, other: Sample, n: int, flipped: bool) -> float:
    """Return what ``other`` costs over what ``one`` does, measured A B B A, or B A A B if flipped."""
    first, second = (other, one) if flipped else (one, other)
    outer, inner = first(n), second(n) + second(n)
    outer += first(n)
    return outer / inner if flipped else inner / outer


def interval(ratios: Sequence[float]) -> Interval:
    """Return the median of ratios, and where it lies with 95 % confidence, by resampling."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return Interval(medians[RESAMPLES // 40], statistics.median(ratios), medians[-RESAMPLES // 40])
