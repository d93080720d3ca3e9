"""What breaks the event loop, KeyboardInterrupt and SystemExit, also ends the run, and leaves counts that are what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
    To,
    graph,
    node,
    sink,
    source,
)
from meridian.core.clock import SystemClock
from meridian.nodes import FilterTransformer, Router

MANY = 400
"""Enough for batches of many messages, which begin small."""
BAD = 300


@pytest.mark.req("V8")
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_no_handler_runs_after_one_that_broke_the_loop(kind):
    seen = []

    def leave(item):
        seen.append(item)
        raise kind

    scheduler = Scheduler()
    scheduler.register(graph("leaving", source(range(5)) >> sink(leave)))
    with pytest.raises(kind), asyncio.Runner() as runner:
        runner.run(scheduler.run_async())
    report = scheduler.report()
    assert seen == [0]
    assert (report.status, report.reason) == ("stopped", "cancelled")


class Stopped(SystemClock):
    """No time passes, so that the sizes of batches are always the same."""

    def monotonic_ns(self) -> int:
        return 1


class Hands:
    """Notes what is handled, and leaves at one of them, once."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.left = False

    def __call__(self, item: Any) -> Any:
        self.seen.append(item)
        if item == BAD and not self.left:
            self.left = True
            raise KeyboardInterrupt
        return item


def _ported(outputs: bool, handle: Callable[[Node, Any], Any]) -> Node:
    ports = [Port("output", PortDirection.OUTPUT)] if outputs else []
    made = Node("broken", [Port("input", PortDirection.INPUT)], ports)
    made._handle_message = lambda port, message: handle(made, message.payload)
    return made


def _sinks(hands: Hands) -> Any:
    return sink(hands, name="broken")


def _sinks_of_messages(hands: Hands) -> Any:
    def broken(message: Message[Any]) -> None:
        hands(message.payload)

    return sink(broken)


def _maps(hands: Hands) -> Any:
    @node
    def broken(item: int) -> int:
        return hands(item)

    return broken


def _maps_anything(hands: Hands) -> Any:
    @node
    def broken(item):
        return To("output", hands(item)) if item % 2 else hands(item)

    return broken


def _emits(hands: Hands) -> Any:
    @node
    def broken(item: int, emit: Callable[[int], None]) -> None:
        emit(hands(item))

    return broken


def _streams(hands: Hands) -> Any:
    @node
    def broken(item: int) -> Iterator[int]:
        yield hands(item)

    return broken


def _waits_not(hands: Hands) -> Any:
    @node
    async def broken(item: int) -> int:
        return hands(item)

    return broken


def _waits(hands: Hands) -> Any:
    @node
    async def broken(item: int) -> int:
        await asyncio.sleep(0)
        return hands(item)

    return broken


def _calls(hands: Hands) -> Any:
    return _ported(True, lambda made, item: made.emit("output", Message(MessageType.DATA, hands(item))))


def _calls_and_says_nothing(hands: Hands) -> Any:
    return _ported(False, lambda made, item: hands(item))


def _filters(hands: Hands) -> Any:
    return FilterTransformer("broken", lambda item: hands(item) >= 0)


def _routes(hands: Hands) -> Any:
    return Router("broken", lambda item: "output" if hands(item) >= 0 else "", ["output"])


KINDS = [
    _sinks, _sinks_of_messages, _maps, _maps_anything, _emits, _streams, _waits_not, _waits, _calls, _calls_and_says_nothing,
    _filters, _routes,
]  # fmt: skip


def _broken_graph(make: Callable[[Hands], Any], hands: Hands, got: list[Any], **limits: Any) -> Subgraph:
    runs = iter([range(MANY)])
    broken = make(hands)
    first = source(lambda: iter(next(runs, ())), name="numbers")
    if isinstance(broken, Node) and broken.outputs:
        made = graph("g", first >> broken >> sink(got.append, name="got"))
    else:
        made = graph("g", first >> broken)
    for edge in made.edges:
        edge.capacity = 2 * MANY
    made.edges[0].max_bytes = limits.get("max_bytes")
    return made


@pytest.mark.req("V4", "V8")
@pytest.mark.parametrize("limits", [{}, {"max_bytes": 1 << 20}], ids=["plain", "limited"])
@pytest.mark.parametrize("make", KINDS)
def test_what_a_handler_that_left_had_not_seen_is_handled_by_the_next_run(make, limits):
    hands, got = Hands(), []
    made = _broken_graph(make, hands, got, **limits)
    scheduler = Scheduler(clock=Stopped())
    scheduler.register(made)
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    came, *went = scheduler.report().edges
    assert hands.seen == list(range(BAD + 1))
    assert came.delivered == len(hands.seen)
    assert came.depth
    for edge in (came, *went):
        assert edge.accepted == edge.delivered + edge.depth + sum(edge.lost.values()) + edge.merged
    assert [edge.accepted for edge in went] == [BAD] * len(went)
    scheduler.run()
    assert hands.seen == list(range(came.accepted))
    assert got == [item for item in hands.seen if item != BAD] * len(went)


@pytest.mark.req("V4")
def test_what_a_source_had_made_before_it_left_is_handled_by_the_next_run():
    got: list[int] = []

    def numbers() -> Iterator[int]:
        for item in range(MANY):
            if item == BAD:
                raise KeyboardInterrupt
            yield item

    runs = [numbers, lambda: iter(())]
    made = graph("g", source(lambda: runs.pop(0)(), name="numbers") >> sink(got.append))
    scheduler = Scheduler(clock=Stopped())
    scheduler.register(made)
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    report = scheduler.report()
    assert report.nodes[0].produced == report.edges[0].accepted == BAD
    scheduler.run()
    assert got == list(range(BAD))


@pytest.mark.req("V4")
def test_what_a_tick_had_emitted_before_it_left_is_handled_by_the_next_run():
    got: list[int] = []

    class Ticks(Node):
        left = False

        def on_tick(self) -> None:
            if not self.left:
                self.left = True
                for item in range(3):
                    self.emit("output", Message(MessageType.DATA, item))
                raise KeyboardInterrupt
            scheduler.shutdown()

    ticks = Ticks("ticks", [], [Port("output", PortDirection.OUTPUT)])
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=60))
    scheduler.register(graph("g", ticks >> sink(got.append)))
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    assert scheduler.report().edges[0].accepted == 3
    scheduler.run()
    assert got == [0, 1, 2]
