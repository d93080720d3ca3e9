"""A full edge that blocks: parked, delivered in order, bounded, and nobody spins."""

from __future__ import annotations

from typing import Any

import pytest

from meridian.core.errors import BackpressureError
from meridian.core.function import node, sink, source
from meridian.core.message import CONTROL, DATA, Message
from meridian.core.node import Node
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph, graph
from meridian.core.wiring import via
from meridian.runtime.run import Run

pytestmark = pytest.mark.req("V4")


class Burst(Node):
    """Calls ``work(self, message)``."""

    def __init__(self, work: Any, max_parked: int = 1024) -> None:
        ports = Node.with_ports("burst", ["input"], ["output"])
        super().__init__("burst", ports.inputs, ports.outputs)
        self.work = work
        self.max_parked = max_parked

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.work(self, msg)


def run(nodes: list[Any], capacities: list[int], **config: Any) -> tuple[Any, int]:
    """Run a chain, registered in this order and connected by name; returns the report and how many slices it took."""
    slices = 0

    class Counted(Run):
        def _slice(self) -> None:
            nonlocal slices
            slices += 1
            super()._slice()

    made = Subgraph("g")
    for each in nodes:
        made.add_node(each)
    chain = [("source", "output"), ("burst", "input"), ("burst", "output"), ("out", "input")]
    for i, capacity in enumerate(capacities):
        made.connect(chain[2 * i], chain[2 * i + 1], capacity)
    scheduler = Scheduler(SchedulerConfig(**config))
    scheduler._run_type = Counted
    scheduler.register(made)
    scheduler.run()
    return scheduler.report(), slices


@pytest.mark.parametrize("reverse", [False, True], ids=["producers first", "consumers first"])
@pytest.mark.parametrize("capacity", [1, 2, 3, 64])
@pytest.mark.parametrize("burst", [1, 2, 7, 100])
def test_bursts_into_a_small_edge_arrive_whole_and_in_order(burst, capacity, reverse):
    got: list[Any] = []

    def work(self: Node, msg: Message[Any]) -> None:
        for i in range(burst):
            self.emit("output", Message(DATA, (msg.payload, i)))

    nodes = [source(range(20)), Burst(work), sink(got.append, name="out")]
    report, slices = run(nodes[::-1] if reverse else nodes, [4, capacity])
    assert got == [(x, i) for x in range(20) for i in range(burst)]
    assert (report.reason, report.errors, report.left) == ("finished", [], {})
    assert slices <= 20 + 20 * burst


def test_past_the_bound_an_emit_is_refused_and_a_loop_until_the_error_ends():
    got: list[Any] = []
    accepted: list[int] = []
    refused: list[bool] = []

    def work(self: Node, msg: Message[Any]) -> None:
        try:
            for i in range(10**6):
                self.emit("output", Message(DATA, i))
                accepted.append(i)
        except RuntimeError as error:
            refused.append("Backpressure" in str(error))

    report, _ = run([source(range(1)), Burst(work, max_parked=5), sink(got.append, name="out")], [4, 3])
    assert got == accepted == list(range(8))
    assert refused == [True]
    assert (report.reason, report.errors) == ("finished", [])


def test_a_refusal_that_escapes_is_no_error_and_its_message_arrives_before_what_follows():
    got: list[Any] = []

    def work(self: Node, msg: Message[Any]) -> None:
        for i in range(10):
            self.emit("output", Message(DATA, (msg.payload, i)))

    report, _ = run([source(range(3)), Burst(work, max_parked=2), sink(got.append, name="out")], [4, 3])
    assert got == [(x, i) for x in range(3) for i in range(6)]
    assert (report.errors, report.reason) == ([], "finished")


def test_a_refused_message_can_be_emitted_again_without_being_doubled():
    got: list[Any] = []
    kept: list[Message[Any]] = []
    same: list[bool] = []

    def work(self: Node, msg: Message[Any]) -> None:
        for message in [*kept, msg, Message(DATA, -msg.payload - 1)]:
            try:
                self.emit("output", message)
            except BackpressureError as error:
                same.append(error.message is message)
                if message not in kept:
                    kept.append(message)
            else:
                if message in kept:
                    kept.remove(message)

    report, _ = run([source(range(50)), Burst(work, max_parked=1), sink(got.append, name="out")], [4, 1])
    assert len(got) == len(set(got))
    assert len(got) + len(kept) == 100
    assert all(same)
    assert report.errors == []


def test_a_message_reaches_all_edges_of_a_port_or_none():
    fast: list[int] = []
    slow: list[int] = []
    a, b = sink(fast.append, name="fast"), sink(slow.append, name="slow")

    @node
    def same(x: int) -> int:
        return x

    made = graph("g", source(range(100)) >> same, same >> via(capacity=50) >> a, same >> via(capacity=1) >> b)
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert fast == slow == list(range(100))


def test_producers_that_share_an_input_are_served_in_turn():
    got: list[Any] = []
    out = sink(got.append, name="out")
    sources = [source([name] * 50, name=name) for name in "abc"]
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=1))
    scheduler.register(graph("g", *(each >> via(capacity=1) >> out for each in sources)))
    scheduler.run()
    assert len(got) == 150
    for i in range(0, 150, 3):
        assert set(got[i : i + 3]) == {"a", "b", "c"}


@pytest.mark.parametrize("capacity", [1, 2, 8])
def test_a_full_cycle_is_reported_as_stuck_and_takes_few_slices(capacity):
    """Every message becomes two, so that both edges fill up."""
    slices = 0

    class Counted(Run):
        def _slice(self) -> None:
            nonlocal slices
            slices += 1
            super()._slice()

    def double(x, emit):
        emit(x)
        emit(x)

    a, b = node(name="a")(double), node(name="b")(double)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=20))
    scheduler._run_type = Counted
    made = graph("g", source([1]) >> a >> via(capacity=capacity) >> b, b >> via(capacity=capacity) >> a)
    scheduler.register(made)
    scheduler.run()
    report = scheduler.report()
    assert report.reason == "stuck"
    assert 1 <= max(report.left.values()) <= capacity
    assert slices < 100
    for edge in report.edges:
        assert edge.accepted == edge.delivered + edge.depth


def test_control_that_has_to_wait_is_delivered_in_order_and_before_parked_data():
    got: list[Any] = []

    def work(self: Node, msg: Message[Any]) -> None:
        for i in range(4):
            self.emit("output", Message(DATA, i))
        for i in range(3):
            self.emit("output", Message(CONTROL, f"c{i}"))

    class Out(Node):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            got.append(msg.payload)

    report, _ = run(
        [source(range(1)), Burst(work), Out("out", Node.with_ports("out", ["input"], []).inputs)], [4, 1]
    )
    assert sorted(map(str, got)) == ["0", "1", "2", "3", "c0", "c1", "c2"]
    assert [each for each in got if isinstance(each, str)] == ["c0", "c1", "c2"]
    assert [each for each in got if isinstance(each, int)] == [0, 1, 2, 3]
    assert got.index("c2") < got.index(1)
    assert report.reason == "finished"


@pytest.mark.req("V13")
def test_an_output_that_leads_nowhere_is_counted():
    @node
    def one(x: int) -> int:
        return x

    @node
    def each(x, emit):
        emit(x)

    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(7)) >> [one, each]))
    scheduler.run()
    assert [report.unrouted for report in scheduler.report().nodes] == [0, 7, 7]


def test_a_second_run_counts_anew():
    got: list[int] = []
    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(5)) >> sink(got.append)))
    for _ in range(2):
        scheduler.run()
        edge = scheduler.report().edges[0]
        assert (edge.accepted, edge.delivered, edge.depth) == (5, 5, 0)
    assert len(got) == 10
