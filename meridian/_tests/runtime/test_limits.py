"""Limits that a run brings along hold from the first message on, also for what was there before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from meridian import Emit, graph, node, sink, source
from meridian.core.message import CONTROL, Message
from meridian.core.node import Node
from meridian.core.policies import block
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.req("V14")


class Gate(Node):
    """Takes part only when it is open."""

    def __init__(self) -> None:
        super().__init__("gate", Node.with_ports("gate", ["input"], []).inputs)
        self.open = False
        self.got: list[Any] = []

    def on_start(self) -> None:
        if not self.open:
            raise RuntimeError

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.got.append(msg.payload)


def made(budget: int | None, **limits: Any) -> tuple[Subgraph, Gate]:
    graph, gate = Subgraph("g", max_bytes=budget), Gate()
    graph.add_node(Node.with_ports("from", [], ["out"]))
    graph.add_node(gate)
    graph.connect(("from", "out"), ("gate", "input"), 10, size=len, **limits)
    return graph, gate


def run(graph: Subgraph) -> Any:
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph)
    scheduler.run()
    return scheduler.report()


@pytest.mark.parametrize("limits", [{}, {"max_bytes": 100}], ids=["plain before", "limited before"])
def test_what_was_put_before_a_run_counts_for_its_budget_and_none_of_it_is_lost(limits):
    graph, gate = made(5, **limits)
    edge = graph.edges[0]
    for payload in ("aaa", "bb", "cccc"):
        edge.try_put(payload, block())
    edge.try_put(Message(CONTROL, "now"), block())
    report = run(graph)
    assert (report.left, report.edges[0].lost, edge.depth()) == ({edge.id: 4}, {}, 4)
    ring: Any = edge.ring()
    assert (ring.bytes, ring.budget.used, ring.budget.limit) == (9, 9, 5)
    gate.open = True
    report = run(graph)
    assert gate.got == ["now", "aaa", "bb", "cccc"]
    assert (report.left, ring.bytes, ring.budget.used) == ({}, 0, 0)


def test_ages_are_kept_from_one_clock_to_the_next():
    graph, gate = made(None, max_age_s=1000.0)

    class Ahead:
        now = 5_000_000_000_000_000_000

        def monotonic_ns(self) -> int:
            return self.now

        def time(self) -> float:
            return 0.0

    gate.open = True
    graph.edges[0].try_put("old", block())
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0), clock=Ahead())
    scheduler.register(graph)
    scheduler.run()
    assert (gate.got, scheduler.report().edges[0].lost) == (["old"], {})


@pytest.mark.req("V14", "V4")
@pytest.mark.parametrize("budget", [4, 7, 30, 100])
@pytest.mark.parametrize("style", ["plain", "async", "stream", "emit", "suspending"])
def test_a_byte_budget_slows_a_pipeline_down_and_never_stops_it(budget, style):
    async def awaited(x: bytes) -> bytes:
        return x

    async def suspending(x: bytes) -> bytes:
        await asyncio.sleep(0)
        return x

    def streamed(x: bytes) -> Iterator[bytes]:
        yield x

    def emitting(x: bytes, emit: Emit[bytes]) -> None:
        emit(x)

    def plain(x: bytes) -> bytes:
        return x

    fn: Any = {
        "plain": plain,
        "async": awaited,
        "stream": streamed,
        "emit": emitting,
        "suspending": suspending,
    }[style]
    got: list[bytes] = []
    items = [b"%d" % (i % 10) for i in range(300)]
    middle = node(fn)
    pipeline = graph(
        "g", source(items) >> middle.named("one") >> middle.named("two") >> sink(got.append), max_bytes=budget
    )
    scheduler = Scheduler()
    scheduler.register(pipeline)
    scheduler.run()
    report = scheduler.report()
    assert (report.reason, got, report.errors) == ("finished", items, [])
    assert all(edge.accepted == edge.delivered == 300 for edge in report.edges)
