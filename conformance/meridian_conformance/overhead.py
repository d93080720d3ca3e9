"""What metrics cost: processor time with them and without, in turns, on the same machine in the same moments.

A B B A and B A A B, so that whatever drifts hits both; processor time rather than time on the wall, so that others on the
machine don't count; the collector is off. Each such quad gives a ratio; judged is the median of the ratios, with an interval by
resampling. A control of two edges alike, measured the same way, says whether the machine can be judged on at all.

An interval that is wholly above the budget fails, one that is wholly within it passes. Otherwise there are twice as many quads,
up to four times; whoever isn't told apart by then is inconclusive: that is what the machine has to answer for, not the backend.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import thread_time_ns
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import replay
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EdgeSpec
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

if TYPE_CHECKING:
    from meridian_conformance.failures import Trace

RULE: Final = "PERF-401"
BUDGET: Final = 1.10
SAMPLE_NS: Final = 20_000_000
QUADS: Final = 40
DOUBLINGS: Final = 2
RESAMPLES: Final = 1_000
SCRAPE_EVERY: Final = 1_000
"""Counters of a metered edge are read once for so many items, as an exporter would."""

FIT: Final = (0.97, 1.03)
"""Where the interval of two edges alike has to lie, or the machine is unfit to judge on."""

Work = Callable[[int], None]
"""Puts and gets so many items."""


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
        """Whether a control of two edges alike is as near to 1 as it has to be."""
        return FIT[0] <= self.low and self.high <= FIT[1]


@check("perf", judges=[RULE], needs=["metrics"])
def overhead(exam: Examination) -> None:
    """Measure put and get on an edge with its metrics on, against one without."""
    spec = EdgeSpec(64)
    exam.runs += 1
    try:
        measured = measure(exam.backend, spec)
    except RuleViolation as violation:
        exam.found([violation], spec, [], player="overhead")
        exam.note = str(violation)
        return
    exam.note = str(measured)
    if not measured.decided:
        exam.undecided[RULE] = str(measured)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        ratio: The cost with metrics over that without.
        control: The same for two edges without.
        quads: From how many quads.
    """

    ratio: Interval
    control: Interval
    quads: int

    @property
    def decided(self) -> bool:
        """Whether it is within the budget or beyond, for sure."""
        return self.broken or (self.control.fit and self.ratio.high <= BUDGET)

    @property
    def broken(self) -> bool:
        """Whether it is beyond the budget, even if the control's error is all in its disfavour."""
        unfit = max(self.control.high, 1 / self.control.low)
        return self.ratio.low > BUDGET * (1.0 if self.control.fit else unfit)

    def __str__(self) -> str:
        told = f"ratio {self.ratio}, budget {BUDGET}, {self.quads} quads"
        if self.decided:
            return told
        why = (
            "the budget lies within the interval"
            if self.control.fit
            else f"two edges alike differ by as much as {self.control} on this machine"
        )
        return f"{why}: {told}"


def measure(backend: Any, spec: EdgeSpec) -> Measured:
    """Require that metrics stay in their budget; return what was measured.

    Raises:
        RuleViolation: they don't, for sure.
    """
    edges = [backend.open(spec), backend.open(spec), backend.open_metered(spec)]
    try:
        plain, twin, metered = (worker(edge, scrape=edge is edges[2]) for edge in edges)
        measured = compare(plain, twin, metered)
        require(RULE, not measured.broken, ratio=str(measured.ratio), budget=BUDGET)
        if measured.decided:
            seen(RULE, "quads measured", measured.quads)
        return measured
    finally:
        for edge in edges:
            discard(backend, edge)


def compare(plain: Work, twin: Work, metered: Work) -> Measured:
    """Measure ``metered`` against ``plain``, and ``twin`` as the control, with as many quads as it takes to decide."""
    n = _batch(plain)
    ratios: list[float] = []
    controls: list[float] = []
    with _uncollected():
        while True:
            for _ in range(len(ratios) or QUADS):
                flipped = len(ratios) % 2 == 1
                ratios.append(_quad(plain, metered, n, flipped))
                controls.append(_quad(plain, twin, n, flipped))
            measured = Measured(interval(ratios), interval(controls), len(ratios))
            if measured.decided or measured.quads >= QUADS << DOUBLINGS:
                return measured


def worker(edge: Any, scrape: bool) -> Work:
    """Return what puts and gets on an edge, and reads its counters now and then if they are scraped."""
    put, get, counters = edge.put, edge.get, edge.counters

    def work(n: int) -> None:
        for i in range(n):
            put(i)
            get()
            if scrape and not i % SCRAPE_EVERY:
                counters()

    return work


@contextmanager
def _uncollected() -> Generator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _batch(work: Work) -> int:
    """Return how many items take `SAMPLE_NS` at least."""
    n = 256
    while _spent(work, n) < SAMPLE_NS:
        n *= 2
    return n


def _spent(work: Work, n: int) -> int:
    before = thread_time_ns()
    work(n)
    return thread_time_ns() - before


def _quad(one: Work, other: Work, n: int, flipped: bool) -> float:
    """Return what ``other`` costs over what ``one`` does, measured A B B A, or B A A B if flipped."""
    first, second = (other, one) if flipped else (one, other)
    outer, inner = _spent(first, n), _spent(second, n) + _spent(second, n)
    outer += _spent(first, n)
    return outer / inner if flipped else inner / outer


def interval(ratios: Sequence[float]) -> Interval:
    """Return the median of ratios, and where it lies with 95 % confidence, by resampling."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return Interval(medians[RESAMPLES // 40], statistics.median(ratios), medians[-RESAMPLES // 40])


def _replay(backend: Any, trace: Trace) -> None:
    measure(backend, EdgeSpec.from_json(trace.spec))


replay.PLAYERS["overhead"] = replay.player_from(_replay)
