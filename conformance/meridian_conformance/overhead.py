"""What metrics cost: processor time with them and without, in turns, on the same machine in the same moments.

A B B A and B A A B, so that whatever drifts hits both; processor time rather than time on the wall, so that others on the
machine don't count; the median of the pairs' ratios with an interval by resampling. A pair of twins without metrics
says whether the machine is quiet enough to judge at all.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import replay
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EdgeSpec
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

if TYPE_CHECKING:
    from meridian_conformance.failures import Trace

BUDGET: Final = 1.10
SAMPLE_S: Final = 0.02
QUADS: Final = 16
RESAMPLES: Final = 400
SCRAPE_EVERY: Final = 1_000
"""Counters of a metered edge are read once for so many items, as an exporter would."""

UNFIT: Final = 0.05
"""Twins that differ by more than that: the machine can't judge."""


@check("perf", judges=["PERF-401"], needs=["metrics"])
def overhead(exam: Examination) -> None:
    """Measure put and get on an edge with its metrics on, against one without."""
    spec = EdgeSpec(64)
    try:
        told = judge(exam.backend, spec)
    except RuleViolation as violation:
        exam.found([violation], spec, [], player="overhead")
        told = str(violation)
    exam.runs += 1
    exam.note = told


def judge(backend: Any, spec: EdgeSpec) -> str:
    """Require that metrics stay in their budget; say what was measured.

    Raises:
        RuleViolation: even the lower end of the interval is above the budget.
    """
    edges = [backend.open(spec), backend.open(spec), backend.open_metered(spec)]
    try:
        plain, twin, metered = (_worker(edge, scrape=edge is edges[2]) for edge in edges)
        n = _batch(plain)
        twins = interval(plain, twin, n)
        low, middle, high = interval(plain, metered, n)
        told = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        noise = max(twins[2], 1 / twins[0], 1.0)
        require("PERF-401", low <= BUDGET * noise, ratio=told, budget=BUDGET)
        if noise > 1 + UNFIT:
            return f"inconclusive: on this machine two edges alike differ by up to {noise:.3f}; ratio {told}"
        seen("PERF-401", "pairs measured", QUADS)
        return f"ratio {told}, budget {BUDGET}"
    finally:
        for edge in edges:
            discard(backend, edge)


def _worker(edge: Any, scrape: bool) -> Callable[[int], None]:
    put, get, counters = edge.put, edge.get, edge.counters

    def work(n: int) -> None:
        for i in range(n):
            put(i)
            get()
            if scrape and not i % SCRAPE_EVERY:
                counters()

    return work


def _batch(work: Callable[[int], None]) -> int:
    """Return how many items take about `SAMPLE_S`."""
    n = 256
    while _time(work, n) < SAMPLE_S:
        n *= 2
    return n


def _time(work: Callable[[int], None], n: int) -> float:
    before = time.thread_time_ns()
    work(n)
    return (time.thread_time_ns() - before) / 1e9


def interval(one: Callable[[int], None], other: Callable[[int], None], n: int) -> tuple[float, float, float]:
    """Return the ratio of what ``other`` costs to what ``one`` does: lower end, median, upper end (95 %)."""
    ratios: list[float] = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for i in range(QUADS):
            order = (one, other, other, one) if i % 2 == 0 else (other, one, one, other)
            spent = [_time(work, n) for work in order]
            inner, outer = spent[1] + spent[2], spent[0] + spent[3]
            ratios.append(inner / outer if i % 2 == 0 else outer / inner)
    finally:
        if enabled:
            gc.enable()
    return _resampled(ratios)


def _resampled(ratios: Sequence[float]) -> tuple[float, float, float]:
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], statistics.median(ratios), medians[-RESAMPLES // 40]


def _replay(backend: Any, trace: Trace) -> None:
    judge(backend, EdgeSpec.from_json(trace.spec))


replay.PLAYERS["overhead"] = replay.player_from(_replay)
