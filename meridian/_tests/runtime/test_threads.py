"""Other threads put, get, emit and stop while a run goes on: nothing is lost, and the capacity holds."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from meridian.core.errors import BackpressureError
from meridian.core.function import node, sink, source
from meridian.core.message import DATA, Message
from meridian.core.node import Node
from meridian.core.policies import PutResult, block
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph, graph
from meridian.core.wiring import via


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*work: Any) -> list[threading.Thread]:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.req("V3", "V4")
@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "messages"])
@pytest.mark.parametrize("capacity", [1, 3])
def test_threads_that_put_on_an_edge_of_a_fan_out_cost_no_message(capacity, wrapped):
    """The capacity is checked at each delivery; the engine fills both edges, two threads one of them."""
    n = 300
    got: dict[str, list[Any]] = {"left": [], "right": []}
    deepest = 0

    @node
    def same(x: int) -> int:
        return x

    def arrive(name: str) -> Any:
        def handle(x: int) -> None:
            nonlocal deepest
            deepest = max(deepest, made.edges[1].depth(), made.edges[2].depth())
            got[name].append(x)

        return sink(handle, name=name)

    left, right = arrive("left"), arrive("right")
    options = via(capacity=capacity)
    made = graph("g", source(range(n)) >> options >> same >> options >> left, same >> options >> right)
    edge = made.edges[2]
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(made)
    accepted: Counter[int] = Counter()

    def put(base: int) -> Any:
        def work() -> None:
            for i in range(base, base + n):
                if edge.try_put(Message(DATA, i) if wrapped else i, block()) is PutResult.OK:
                    accepted[base] += 1

        return work

    threads = together(put(10_000), put(20_000))
    scheduler.run()
    join(threads)
    left_behind = edge.depth()
    assert got["left"] == list(range(n))
    assert [x for x in got["right"] if x < 10_000] == list(range(n))
    for base in (10_000, 20_000):
        mine = [x for x in got["right"] if base <= x < base + n]
        assert mine == sorted(set(mine))
    assert len(got["right"]) + left_behind == n + sum(accepted.values())
    assert deepest <= capacity
    assert scheduler.report().errors == []


@pytest.mark.req("V3")
@pytest.mark.parametrize("typed", [False, True])
def test_threads_that_take_from_an_edge_share_its_messages_with_the_run(typed):
    n = 400
    here: list[Any] = []
    there: list[Any] = []

    def handle(x: int) -> int:
        return x

    middle = node(name="middle")(handle if typed else lambda x: x)
    made = graph("g", source(range(n)) >> via(capacity=2) >> middle >> via(capacity=2) >> sink(here.append))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(made)
    over = threading.Event()

    def steal() -> None:
        while not over.is_set():
            for edge in made.edges:
                item = edge.try_get()
                if item is not None:
                    there.append(item)

    threads = together(steal)
    scheduler.run()
    over.set()
    join(threads)
    report = scheduler.report()
    assert Counter(here + there) == Counter(range(n))
    assert (report.reason, report.errors) == ("finished", [])


@pytest.mark.req("V2")
def test_a_put_from_another_thread_wakes_an_idle_loop_at_once():
    """Each put waits for the one before to have been handled: a loop that sleeps on would never get there."""
    handled = threading.Semaphore(0)
    made = Subgraph("g")
    made.add_node(Node.with_ports("from", [], ["out"]))
    made.add_node(sink(lambda x: handled.release(), name="to"))
    made.connect(("from", "out"), ("to", "input"), 1)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(made)

    def put() -> None:
        for i in range(50):
            assert made.edges[0].try_put(i, block()) is PutResult.OK
            assert handled.acquire(timeout=20)
        scheduler.shutdown()

    threads = together(put)
    scheduler.run()
    join(threads)
    report = scheduler.report()
    assert (report.reason, report.edges[0].delivered) == ("shutdown", 50)


@pytest.mark.req("V4")
def test_what_other_threads_emit_arrives_and_is_bounded():
    n = 300
    got: list[Any] = []
    begun, done = threading.Event(), [False, False]
    most = 0

    class Relay(Node):
        def on_start(self) -> None:
            begun.set()

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            self.emit("output", msg)

    async def feed():
        for i in range(n):
            yield i
        while not all(done):
            await asyncio.sleep(0)

    ports = Node.with_ports("relay", ["input"], ["output"])
    relay = Relay("relay", ports.inputs, ports.outputs)
    relay.max_parked = 4
    made = Subgraph("g")
    for each in (source(feed, name="source"), relay, sink(got.append, name="to")):
        made.add_node(each)
    made.connect(("source", "output"), ("relay", "input"), 2)
    made.connect(("relay", "output"), ("to", "input"), 1)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(made)
    accepted: list[int] = []

    def emit(index: int) -> Any:
        def work() -> None:
            nonlocal most
            assert begun.wait(20)
            for i in range(1000 * index + 1000, 1000 * index + 1000 + n):
                try:
                    relay.emit("output", Message(DATA, i))
                except BackpressureError:
                    continue
                accepted.append(i)
            done[index] = True

        return work

    threads = together(emit(0), emit(1))
    scheduler.run()
    join(threads)
    report = scheduler.report()
    assert Counter(got) == Counter([*range(n), *accepted])
    assert [x for x in got if x < 1000] == list(range(n))
    for base in (1000, 2000):
        mine = [x for x in got if base <= x < base + n]
        assert mine == sorted(mine)
    assert (report.reason, report.errors, report.left) == ("finished", [], {})


@pytest.mark.req("V3")
@pytest.mark.parametrize("running", [False, True])
def test_threads_that_put_first_at_the_same_time_put_on_the_same_edge(running):
    for _ in range(30):
        got: list[int] = []
        made = Subgraph("g")
        made.add_node(Node.with_ports("from", [], ["out"]))
        made.add_node(sink(got.append, name="to"))
        made.connect(("from", "out"), ("to", "input"), 10)
        barrier = threading.Barrier(3)

        def put(i: int, edge: Any = made.edges[0], barrier: threading.Barrier = barrier) -> None:
            barrier.wait(20)
            edge.try_put(i, block())

        threads = together(*(partial(put, i) for i in range(3)))
        if running:
            scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
            scheduler.register(made)
            scheduler.run()
        join(threads)
        assert sorted([*got, *made.edges[0].ring().items]) == [0, 1, 2]


@pytest.mark.req("V8")
def test_several_threads_may_ask_for_a_stop():
    begun = threading.Event()

    async def endless():
        while True:
            begun.set()
            yield 1
            await asyncio.sleep(0)

    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(graph("g", source(endless) >> sink(lambda x: None)))

    def stop() -> None:
        assert begun.wait(20)
        scheduler.shutdown()

    threads = together(stop, stop, stop)
    scheduler.run()
    join(threads)
    report = scheduler.report()
    assert (report.reason, report.left) == ("shutdown", {})
