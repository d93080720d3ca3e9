"""What asynchronous code computes is busy time of its node, wherever it runs; what it waits for is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from meridian import graph, node, sink, source
from meridian.core.function import Inlet
from meridian.core.node import Node
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.nodes.base import setup_standard_ports
from meridian.observability import events
from meridian.observability.events import EventLog, get_events
from meridian.testing.clock import VirtualClock, VirtualLoop

pytestmark = pytest.mark.req("N6", "V2")

BEFORE_S, AFTER_S = 0.01, 0.02
"""What each call computes before it waits, and after."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def run(made: Subgraph, clock: VirtualClock) -> Any:
    """Run a graph whose time moves when somebody computes, and at no other time; return the report."""
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.0), clock=clock)
    scheduler.register(made)
    scheduler.run()
    return scheduler.report()


def of(report: Any, name: str) -> Any:
    return next(each for each in report.nodes if each.name == name)


def into_nothing() -> Any:
    return sink(lambda _: None, name="end")


def graphs(computes: Callable[[], Any]) -> dict[str, Callable[[], Subgraph]]:
    """Return how to make graphs in which node ``busy`` awaits ``computes()`` three times."""

    async def call(x: int) -> int:
        await computes()
        return x

    async def stream(x: int) -> Any:
        await computes()
        yield x

    async def items() -> Any:
        for x in range(3):
            await computes()
            yield x

    class OnMessage(Node):
        async def _handle_message(self, port: str, msg: Any) -> None:
            await computes()

    class OnTick(Node):
        regular_ticks = False
        ticked = 0

        def on_start(self) -> None:
            self.tick_in(0)

        async def _handle_tick(self) -> None:
            await computes()
            self.ticked += 1
            if self.ticked < 3:
                self.tick_in(0)

    def fed(middle: Any) -> Subgraph:
        return graph("g", source(range(3), name="read") >> middle >> into_nothing())

    return {
        "function": lambda: fed(node(name="busy")(call)),
        "pool": lambda: fed(node(name="busy", concurrency=3)(call)),
        "unordered pool": lambda: fed(node(name="busy", concurrency=2, ordered=False)(call)),
        "stream": lambda: fed(node(name="busy")(stream)),
        "source": lambda: graph("g", source(items(), name="busy") >> into_nothing()),
        "class": lambda: graph(
            "g", source(range(3), name="read") >> OnMessage("busy", *setup_standard_ports(["in"], []))
        ),
        "tick": lambda: graph("g", OnTick("busy", *setup_standard_ports([], ["out"])) >> into_nothing()),
    }


KINDS = list(graphs(lambda: None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("waits", [0, 1, 2])
def test_what_is_computed_before_a_wait_and_after_it_is_busy_and_counts_once(kind, waits, clock):
    async def computes() -> None:
        clock.advance(BEFORE_S)
        for _ in range(waits):
            await asyncio.sleep(0)
            clock.advance(AFTER_S)

    report = run(graphs(computes)[kind](), clock)
    assert report.reason == "finished"
    assert of(report, "busy").busy_s == pytest.approx(3 * (BEFORE_S + waits * AFTER_S))
    assert {each.busy_s for each in report.nodes if each.name != "busy"} == {0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_waited_for_is_not_busy(kind):
    async def main() -> Any:
        loop: Any = asyncio.get_running_loop()

        async def computes() -> None:
            await asyncio.sleep(1.0)
            loop.clock.advance(AFTER_S)

        scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.0), clock=loop.clock)
        scheduler.register(graphs(computes)[kind]())
        await scheduler.run_async()
        return scheduler.report()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        report = runner.run(main())
    assert of(report, "busy").busy_s == pytest.approx(3 * AFTER_S)
    assert report.elapsed_s > 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_code_that_fails_after_a_wait_was_busy_until_then(kind, clock):
    async def computes() -> None:
        await asyncio.sleep(0)
        clock.advance(AFTER_S)
        raise ValueError

    report = run(graphs(computes)[kind](), clock)
    calls = 1 if kind in ("source", "tick") else 3  # a source is over, and no tick asks for the next one
    assert (report.errors_total, of(report, "busy").busy_s) == (calls, pytest.approx(calls * AFTER_S))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_a_cancelled_handler_still_computes_is_busy(concurrency, clock):
    @node(name="busy", concurrency=concurrency)
    async def impatient(x: int) -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            clock.advance(AFTER_S)

    report = run(graph("g", source(range(3), name="read") >> impatient), clock)
    assert (report.errors, of(report, "busy").busy_s) == ([], pytest.approx(3 * AFTER_S))


def test_each_time_asynchronous_code_goes_on_is_a_turn_of_its_node(clock):
    @node(name="busy")
    async def waits_twice(x: int) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert of(run(graph("g", source([1], name="read") >> waits_twice), clock), "busy").slices == 3


@pytest.mark.parametrize("kind", KINDS)
def test_asynchronous_code_that_keeps_the_loop_after_a_wait_is_told_as_a_slow_turn_is(
    kind, clock, monkeypatch
):
    monkeypatch.setattr(events, "_log", EventLog())
    news = get_events().subscribe()
    computed = []

    async def computes() -> None:
        await asyncio.sleep(0)
        computed.append(1)
        clock.advance(0.1 if len(computed) == 2 else 0.09)

    run(graphs(computes)[kind](), clock)
    told: list[Any] = [
        (each.node, each.duration_s) for each in news.take().events if each.kind == "node.slow"
    ]
    assert told == [("busy", pytest.approx(0.1))]


def test_turns_that_a_handler_runs_by_pushing_into_its_own_graph_count_as_those_of_their_nodes(clock):
    inlet = Inlet("in")

    @node(name="pushes")
    async def pushes(x: int) -> None:
        await asyncio.sleep(0)
        clock.advance(AFTER_S)
        inlet.push(x)
        inlet.close()

    def store(x: int) -> None:
        clock.advance(BEFORE_S)

    report = run(
        graph("g", source([1], name="read") >> pushes, inlet >> sink(store, name="store")),
        clock,
    )
    assert of(report, "pushes").busy_s == pytest.approx(AFTER_S)
    assert of(report, "store").busy_s == pytest.approx(BEFORE_S)
