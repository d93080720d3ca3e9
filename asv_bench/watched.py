"""What lanes I and R measure: single operations, each done as often as one asks.

A sample of an operation is a call ``sample(n)``, which does it ``n`` times and returns the nanoseconds of processor time that
these took, without what was set up for them. Lane R takes the time; lane I counts the instructions of the same call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import iscoroutine
from itertools import count
from typing import Any

from asv_bench.shape import CHAIN_HOPS, FAN
from meridian_conformance.paired import Sample, timed

OFF, SINK, PROMETHEUS = "off", "null sink", "prometheus"
MODES = (OFF, SINK, PROMETHEUS)
"""No metrics; a provider that keeps nothing and that nobody reads; `PrometheusMetrics`, read once a second."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something of which the cost is watched.

    Attributes:
        name: By which it is asked for.
        what: What is done once.
        open: Sets it up, with the clock that a run is to go by (``None`` for the system's), and gives its sample.
        few: How often lane I does it at the least: what is done differently at first is over by then.
        many: And at the most.
    """

    name: str
    what: str
    open: Callable[[Any], Sample]
    few: int
    many: int


def _sampled(
    module: str, function: str, *args: Any, items: int = 1, clocked: bool = False
) -> Callable[[Any], Sample]:
    """Return what opens a function of the benchmarks that tells nanoseconds of each of the ``items`` of one operation."""

    def open(clock: Any) -> Sample:
        call: Callable[..., Any] = getattr(import_module(f"asv_bench.{module}"), function)
        options = {"clock": clock} if clocked else {}

        def sample(n: int) -> int:
            told = call(n, *args, **options)
            return round((asyncio.run(told) if iscoroutine(told) else told) * n * items)

        return sample

    return open


def _put_and_get(policy: str) -> Callable[[Any], Sample]:
    """Return what opens an edge with a policy, to put on it and take off again."""

    def open(clock: Any) -> Sample:
        from asv_bench import operations, workloads

        def sample(n: int) -> int:
            return round(asyncio.run(workloads.put_and_get(n, operations.edge(policy))) * n)

        return sample

    return open


def _put(clock: Any) -> Sample:
    """Put on an edge with room for all of it."""
    from asv_bench import operations

    def work(n: int) -> None:
        put = operations.edge(capacity=1 << 30).try_put
        for i in range(n):
            put(i)

    return timed(work)


def _loop(rounds: int) -> Callable[[Any], Sample]:
    """Return what opens a loop, for the gates to be tested with."""

    def open(clock: Any) -> Sample:
        def work(n: int) -> None:
            for _ in range(n):
                for _ in range(rounds):
                    pass

        return timed(work)

    return open


POLICIES = ("block", "drop", "latest", "coalesce")

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("edge", "put on an edge and get", _sampled("workloads", "put_and_get"), 400, 2_000),
        Operation("put", "put on an edge with room", _put, 400, 2_000),
        *(Operation(f"edge-{policy}", f"the same, policy {policy}", _put_and_get(policy), 400, 2_000) for policy in POLICIES),
        *(
            Operation(f"full-{policy}", f"put on a full edge, policy {policy}",
                      _sampled("operations", "put_when_full", policy), 400, 2_000)
            for policy in POLICIES
        ),
        Operation("many", "put an item and get it, 64 at a time", _sampled("operations", "put_many_and_take_many"),
                  6_400, 32_000),
        Operation("chain", "a number through the chain W1",
                  _sampled("workloads", "chain", items=CHAIN_HOPS, clocked=True), 4_000, 12_000),
        Operation("chain-async", "the same, async functions",
                  _sampled("workloads", "chain", "async", items=CHAIN_HOPS, clocked=True), 2_000, 6_000),
        Operation("fan-in", "a number of each of 8 sources into one sink",
                  _sampled("workloads", "fan_in", items=FAN, clocked=True), 1_000, 3_000),
        Operation("ready-10", "take the next of 10 ready turns, and put it back",
                  _sampled("operations", "pick_and_push", 10), 500, 5_500),
        Operation("ready-10000", "the same of 10,000 ready turns",
                  _sampled("operations", "pick_and_push", 10_000), 100, 600),
    )
}  # fmt: skip
LOOPS = {
    operation.name: operation
    for operation in (
        Operation("loop", "a loop of 1,000 rounds", _loop(1_000), 20, 120),
        Operation("loop-again", "the same", _loop(1_000), 20, 120),
        Operation("loop-1200", "a loop of a fifth more", _loop(1_200), 20, 120),
    )
}
"""With which it is tested that the gates can turn red, and don't always."""


class NullSink:
    """A provider for somebody who never reads: what it hands out keeps nothing, and no collector is called."""

    def counter(self, name: str, labels: Any = None) -> NullSink:
        return self

    gauge = histogram = counter

    def register_collector(self, collect: Any) -> None: ...
    def unregister_collector(self, collect: Any) -> None: ...
    def inc(self, n: int = 1) -> None: ...
    def set(self, v: float) -> None: ...
    def observe(self, v: float) -> None: ...


def providers() -> dict[str, Any]:
    """Return a provider for each mode."""
    from meridian.observability import NoopMetrics, PrometheusMetrics

    return {OFF: NoopMetrics(), SINK: NullSink(), PROMETHEUS: PrometheusMetrics()}


@contextmanager
def provided(provider: Any) -> Iterator[None]:
    """Make a provider the current one for a while; none is afterwards."""
    from meridian.observability import NoopMetrics, configure_metrics

    configure_metrics(provider)
    try:
        yield
    finally:
        configure_metrics(NoopMetrics())


class ProcessorClock:
    """A clock that stands while others have the processor: slices are as long on a busy machine as on one that is idle.

    How long they are is adapted to the time that they take, and what metrics cost for each slice would weigh more in short ones.
    """

    monotonic_ns = staticmethod(time.thread_time_ns)
    time = staticmethod(time.time)


class ScrapingClock:
    """A clock that stands, and that reads the metrics when a run asks it for the 50th time: so a run is under way, for sure.

    Args:
        metrics: What is read.
        times: How often.
    """

    def __init__(self, metrics: Any, times: int) -> None:
        self.time = time.time
        self.ns = 0
        asked = count(1)

        def monotonic_ns() -> int:
            if next(asked) == 50:
                before = time.thread_time_ns()
                for _ in range(times):
                    metrics.render()
                self.ns = time.thread_time_ns() - before
            return 0

        self.monotonic_ns = monotonic_ns
