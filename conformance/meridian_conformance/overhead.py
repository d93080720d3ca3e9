"""What metrics cost: an edge with them and one without, in turns (`paired`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import paired, replay
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EdgeSpec
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

if TYPE_CHECKING:
    from collections.abc import Callable

    from meridian_conformance.failures import Trace

RULE: Final = "PERF-401"
BUDGET: Final = 1.10
SCRAPE_EVERY: Final = 1_000
"""Counters of a metered edge are read once for so many items, as an exporter would."""


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


def measure(backend: Any, spec: EdgeSpec) -> paired.Measured:
    """Require that metrics stay in their budget; return what was measured.

    Raises:
        RuleViolation: they don't, for sure.
    """
    edges = [backend.open(spec), backend.open(spec), backend.open_metered(spec)]
    try:
        plain, twin, metered = (paired.timed(worker(edge, scrape=edge is edges[2])) for edge in edges)
        measured = paired.compare(plain, twin, metered, BUDGET)
        require(RULE, not measured.broken, ratio=str(measured.ratio), budget=BUDGET)
        if measured.decided:
            seen(RULE, "quads measured", measured.quads)
        return measured
    finally:
        for edge in edges:
            discard(backend, edge)


def worker(edge: Any, scrape: bool) -> Callable[[int], None]:
    """Return what puts and gets on an edge, and reads its counters now and then if they are scraped."""
    put, get, counters = edge.put, edge.get, edge.counters

    def work(n: int) -> None:
        for i in range(n):
            put(i)
            get()
            if scrape and not i % SCRAPE_EVERY:
                counters()

    return work


def _replay(backend: Any, trace: Trace) -> None:
    measure(backend, EdgeSpec.from_json(trace.spec))


replay.PLAYERS["overhead"] = replay.player_from(_replay)
