"""DataProducer and BatchProducer: section 12.3 of v1's contract, paced by the run's clock, without loss."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, Node, graph, sink, via
from meridian.core.errors import BackpressureError
from meridian.core.message import CONTROL, DATA
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import ErrorPolicy, NodeConfig, setup_standard_ports
from meridian.nodes.producers import BatchProducer, DataProducer
from meridian.testing import simulate

pytestmark = pytest.mark.req("V11")

COMPLETED = (CONTROL, {"event": "completed"})
BOTH = pytest.mark.parametrize("producer", [DataProducer, BatchProducer])


class End(Node):
    """Notes what comes, and when."""

    def __init__(self) -> None:
        super().__init__("end", *setup_standard_ports(["input"], None))
        self.got: list[tuple[Any, Any]] = []
        self.at_ms: list[float] = []

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.got.append((msg.type, msg.payload))
        self.at_ms.append(round(self.now() * 1000, 3))

    @property
    def payloads(self) -> list[Any]:
        return [payload for type, payload in self.got if type is DATA]


def emitted(harness: NodeTestHarness) -> list[Any]:
    return [(m.type, m.payload) for m in harness.get_emitted_messages("output")]


def ticked(node: Node, ticks: int) -> list[Any]:
    harness = NodeTestHarness(node)
    for _ in range(ticks):
        harness.trigger_tick()
    return emitted(harness)


class Source:
    """Counts how often it is opened; each item is noted when it is taken."""

    def __init__(self, items: Any) -> None:
        self.items = items
        self.opened = self.closed = 0
        self.taken: list[Any] = []

    def __call__(self) -> Iterator[Any]:
        self.opened += 1
        return self.each()

    def each(self) -> Iterator[Any]:
        try:
            for item in self.items:
                self.taken.append(item)
                yield item
        finally:
            self.closed += 1


class Raising:
    """An iterator that fails at some of its items and goes on after them."""

    def __init__(self, *items: Any) -> None:
        self.items = iter(items)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self.items)
        if isinstance(item, Exception):
            raise item
        return item


# --- DataProducer


def test_a_data_producer_has_one_output_named_by_output_port():
    assert [port.name for port in DataProducer("p", list).outputs] == ["output"]
    assert [port.name for port in DataProducer("p", list, output_port="o").outputs] == ["o"]
    assert DataProducer("p", list).inputs == []


def test_parameters_come_in_this_order():
    config = NodeConfig(ErrorPolicy.RAISE_EXCEPTION)
    made = DataProducer("p", lambda: iter([1]), 5, "o", config)
    assert (made.name, made.outputs[0].name, made._config) == ("p", "o", config)
    batches = BatchProducer("p", lambda: iter([1]), 3, 7, "o", config)
    assert (batches.name, batches.outputs[0].name, batches._config) == ("p", "o", config)


@pytest.mark.v1("L11")
def test_each_tick_emits_one_item_as_data_then_completed_once():
    made = DataProducer("p", lambda: iter(["a", "b"]), interval_ms=1)
    assert ticked(made, 6) == [(DATA, "a"), (DATA, "b"), COMPLETED]


@pytest.mark.v1("L11")
def test_in_a_harness_the_first_tick_emits_at_once_and_the_next_ones_wait_for_the_interval():
    made = DataProducer("p", lambda: iter(range(9)), interval_ms=3_600_000)
    assert ticked(made, 3) == [(DATA, 0)]


@pytest.mark.v1("D55")
def test_the_source_is_opened_once_per_start_and_not_by_the_constructor():
    source = Source([1])
    made = DataProducer("p", source, interval_ms=1)
    assert source.opened == 0
    made.on_start()
    assert (source.opened, ticked(made, 3)) == (1, [(DATA, 1), COMPLETED])
    made.on_start()
    assert (source.opened, ticked(made, 3)) == (2, [(DATA, 1), COMPLETED])


@pytest.mark.v1("D55")
def test_each_run_opens_the_source_once_and_begins_anew():
    source = Source(range(3))
    end = End()
    made = graph("g", DataProducer("p", source) >> end)
    simulate(made)
    simulate(made)
    assert source.opened == 2
    assert end.got == [*[(DATA, i) for i in range(3)], COMPLETED] * 2


@pytest.mark.v1("D55")
def test_a_run_lasts_until_everything_is_produced():
    end = End()
    simulation = simulate(graph("g", DataProducer("p", lambda: iter(range(100))) >> end))
    assert end.got == [*[(DATA, i) for i in range(100)], COMPLETED]
    assert simulation.report.reason == "finished"


@pytest.mark.v1("D55")
def test_items_leave_at_the_interval_and_not_at_ticks():
    end = End()
    config = SchedulerConfig(tick_interval_ms=50)
    simulate(graph("g", DataProducer("p", lambda: iter(range(1000)), interval_ms=1) >> end), config=config)
    assert end.at_ms == pytest.approx(list(range(1001)), abs=0.01)


def test_the_first_item_leaves_at_once_even_where_ticks_are_rare():
    end = End()
    config = SchedulerConfig(tick_interval_ms=3_600_000)
    simulate(graph("g", DataProducer("p", lambda: iter("ab"), interval_ms=20) >> end), config=config)
    assert end.at_ms == pytest.approx([0, 20, 40], abs=0.01)


@pytest.mark.parametrize("interval", [0, -5, 0.25, 1])
def test_an_interval_is_at_least_a_millisecond(interval):
    end = End()
    simulate(graph("g", DataProducer("p", lambda: iter("abc"), interval_ms=interval) >> end))
    assert end.at_ms == pytest.approx([0, 1, 2, 3], abs=0.01)


def test_hours_take_no_time_in_a_simulation():
    end = End()
    simulation = simulate(graph("g", DataProducer("p", lambda: iter(range(5)), interval_ms=3_600_000) >> end))
    assert end.payloads == list(range(5))
    assert simulation.elapsed_s == pytest.approx(5 * 3600, abs=1)
    assert len(simulation.trace) < 50


def test_a_slow_consumer_holds_the_production_up_and_nothing_is_lost_or_hurried():
    source = Source(range(20))
    got: list[Any] = []

    async def slow(x: Any) -> None:
        await asyncio.sleep(0.1)
        got.append((x, len(source.taken)))

    made = graph("g", DataProducer("p", source, interval_ms=1) >> via(capacity=1) >> sink(slow, name="slow"))
    simulate(made)
    assert [x for x, _ in got] == list(range(20))
    assert max(taken - x for x, taken in got) <= 4  # in work, on the edge, parked


def test_time_lost_to_a_full_edge_is_not_made_up_for():
    end = End()

    class Jams(End):
        async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
            super()._handle_message(port, msg)
            if msg.payload == 2:
                await asyncio.sleep(1)

    end = Jams()
    simulate(graph("g", DataProducer("p", lambda: iter(range(8)), interval_ms=10) >> via(capacity=1) >> end))
    after = [at for (_, payload), at in zip(end.got, end.at_ms, strict=True) if payload in (6, 7)]
    assert end.payloads == list(range(8))
    assert after[1] - after[0] == pytest.approx(10, abs=0.01)


def test_coarse_timers_do_not_lower_the_rate():
    came: list[int] = []
    made = DataProducer("p", lambda: iter(range(1000)), interval_ms=1)
    clock = 0.0
    made.now = lambda: clock  # type: ignore[method-assign]
    asked: list[float] = []
    made.tick_in = asked.append  # type: ignore[method-assign]
    harness = NodeTestHarness(made)
    made.on_start()
    while clock < 0.5:
        made.on_tick()
        came.append(len(harness.get_emitted_messages("output")))
        if (wait := max(asked[-1], 0)) > 0:
            clock += wait + 0.0015  # each timer is late
    assert came[-1] == pytest.approx(500, abs=4)
    assert came == list(range(1, len(came) + 1))  # still one item per tick


@given(
    items=st.lists(st.integers(), max_size=20),
    interval=st.sampled_from([1, 7, 50]),
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 1024]),
    seed=st.integers(0, 3),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D52")
def test_whatever_is_taken_from_the_source_arrives_once_and_in_order(
    items, interval, capacity, max_parked, seed
):
    source, got = Source(items), []

    async def slow(x: Any) -> None:
        await asyncio.sleep(0.02)
        got.append(x)

    def made() -> Any:
        producer = DataProducer("p", source, interval_ms=interval)
        producer.max_parked = max_parked
        return graph("g", producer >> via(capacity=capacity) >> sink(slow, name="slow"))

    report = simulate(made, seed=seed).report
    assert got == items == source.taken
    assert (report.reason, report.errors_total) == ("finished", 0)


@pytest.mark.v1("D52")
@BOTH
def test_what_an_emit_refuses_is_kept_and_emitted_later(producer):
    made = producer("p", lambda: iter("ab"), 1)
    harness = NodeTestHarness(made)
    emit, refused = made.emit, []

    def full(port: str, msg: Message[Any]) -> Any:
        refused.append(msg)
        raise BackpressureError("p:output->end:input", 1, "p", port, msg)

    made.emit = full
    harness.trigger_tick()
    harness.trigger_tick()
    made.emit = emit
    for _ in range(4):
        harness.trigger_tick()
    assert refused[0] is refused[1] is harness.get_emitted_messages("output")[0]
    assert [payload for _, payload in emitted(harness)][-1] == {"event": "completed"}
    assert len(emitted(harness)) == 3


# --- iterators that fail


def test_a_failure_of_the_iterator_is_logged_and_the_next_item_follows(records):
    made = DataProducer("p", lambda: Raising(1, KeyError("secret"), 2), interval_ms=1)
    assert ticked(made, 5) == [(DATA, 1), (DATA, 2), COMPLETED]
    assert [line["error_type"] for line in records("function_node.error")] == ["KeyError"]
    assert "secret" not in str(records("function_node.error"))


@pytest.mark.parametrize("policy", [ErrorPolicy.RAISE_EXCEPTION, ErrorPolicy.EMIT_ERROR])
def test_under_the_other_policies_a_failure_of_the_iterator_leaves_the_tick_and_the_next_item_follows(policy):
    made = DataProducer("p", lambda: Raising(1, KeyError("k"), 2), interval_ms=1, config=NodeConfig(policy))
    harness = NodeTestHarness(made)
    harness.trigger_tick()
    with pytest.raises(KeyError):
        harness.trigger_tick()
    harness.trigger_tick()
    harness.trigger_tick()
    assert emitted(harness) == [(DATA, 1), (DATA, 2), COMPLETED]


@pytest.mark.req("V9")
@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_a_generator_that_fails_ends_the_production_in_good_order(policy):
    def items() -> Iterator[int]:
        yield 1
        raise ValueError

    end = End()
    report = simulate(graph("g", DataProducer("p", items, config=NodeConfig(policy)) >> end)).report
    assert end.got == [(DATA, 1), COMPLETED]
    assert [(error.node, error.type) for error in report.errors] == [("p", "ValueError")]
    assert report.reason == "finished"


@BOTH
def test_a_source_that_cannot_be_opened_takes_no_part_in_the_run(producer):
    def fails() -> Iterator[int]:
        raise OSError

    end = End()
    report = simulate(
        graph("g", producer("p", fails) >> end), config=SchedulerConfig(shutdown_timeout_s=0.1)
    ).report
    assert end.got == []
    assert [(error.node, error.phase, error.type) for error in report.errors] == [
        ("p", "on_start", "OSError")
    ]


@BOTH
def test_something_that_is_no_iterator_is_named(producer):
    made = producer("p", lambda: 5)
    with pytest.raises(
        ValueError, match=rf"{producer.__name__} 'p': data_source\(\) must return an iterator, got int"
    ):
        made.on_start()


@BOTH
def test_any_iterable_will_do(producer):
    end = End()
    simulate(graph("g", producer("p", lambda: (1, 2, 3)) >> end))
    assert end.got[-1] == COMPLETED
    assert len(end.payloads) in (1, 3)


# --- the end


@BOTH
def test_the_run_must_not_end_before_completed_is_out(producer):
    made = producer("p", lambda: iter([1]), 1)
    harness = NodeTestHarness(made)
    made.on_start()
    assert made.has_pending() is True
    for _ in range(4):
        harness.trigger_tick()
    assert emitted(harness)[-1] == COMPLETED
    assert made.has_pending() is False


@BOTH
def test_an_empty_source_is_completed_too(producer):
    end = End()
    assert simulate(graph("g", producer("p", lambda: iter(())) >> end)).report.reason == "finished"
    assert end.got == [COMPLETED]


@BOTH
@pytest.mark.req("V8")
@pytest.mark.v1("L20")
def test_a_shutdown_stops_the_production_and_closes_a_generator(producer):
    source, end = Source(itertools.count()), End()
    simulation = simulate(
        graph("g", producer("p", source) >> end), until_s=1.01, config=SchedulerConfig(shutdown_timeout_s=60)
    )
    arrived = [x for each in end.payloads for x in (each if isinstance(each, list) else [each])]
    assert arrived == source.taken
    assert (source.closed, simulation.report.reason) == (1, "shutdown")
    assert COMPLETED not in end.got
    assert simulation.elapsed_s < 1.1


@BOTH
def test_a_drained_producer_produces_no_more(producer):
    source = Source(itertools.count())
    made = producer("p", source, 1)
    harness = NodeTestHarness(made)
    made.on_start()
    harness.trigger_tick()
    before = emitted(harness)
    made.on_drain()
    harness.trigger_tick()
    assert emitted(harness) == before
    assert (made.has_pending(), source.closed) == (False, 1)
    made.on_stop()
    assert source.closed == 1


@BOTH
def test_a_stop_without_a_drain_closes_a_generator(producer):
    source = Source(itertools.count())
    made = producer("p", source, 1)
    made.on_start()
    NodeTestHarness(made).trigger_tick()
    made.on_stop()
    assert source.closed == 1


@pytest.mark.v1("L9")
def test_a_subclass_may_replace_on_start_without_calling_the_one_of_the_base():
    class Own(DataProducer):
        def on_start(self) -> None:
            self.started = True

    end = End()
    made = Own("p", lambda: iter("abc"), interval_ms=1)
    assert simulate(graph("g", made >> end)).report.reason == "finished"
    assert end.got == [(DATA, "a"), (DATA, "b"), (DATA, "c"), COMPLETED]


def test_completed_comes_after_everything_that_had_to_wait():
    end = End()
    made = DataProducer("p", lambda: iter(range(50)), interval_ms=1)
    simulate(graph("g", made >> via(capacity=1) >> end))
    assert end.got == [*[(DATA, i) for i in range(50)], COMPLETED]


# --- BatchProducer


@pytest.mark.v1("L11")
def test_each_tick_emits_one_full_batch_as_a_list():
    made = BatchProducer("p", lambda: iter(range(9)), batch_size=3)
    assert ticked(made, 2) == [(DATA, [0, 1, 2]), (DATA, [3, 4, 5])]


def test_at_the_end_a_batch_is_shorter_and_in_a_harness_completed_follows_it_in_the_same_tick():
    made = BatchProducer("p", lambda: iter(range(7)), batch_size=3)
    assert ticked(made, 3) == [(DATA, [0, 1, 2]), (DATA, [3, 4, 5]), (DATA, [6]), COMPLETED]


def test_in_a_run_completed_does_not_overtake_the_last_batch():
    end = End()
    simulate(graph("g", BatchProducer("p", lambda: iter(range(7)), batch_size=3) >> end))
    assert end.got == [(DATA, [0, 1, 2]), (DATA, [3, 4, 5]), (DATA, [6]), COMPLETED]


def test_no_empty_batch_is_emitted():
    assert ticked(BatchProducer("p", lambda: iter(range(4)), batch_size=2), 9) == [
        (DATA, [0, 1]),
        (DATA, [2, 3]),
        COMPLETED,
    ]


def test_a_batch_producer_makes_batches_of_ten_unless_told_otherwise():
    assert ticked(BatchProducer("p", lambda: iter(range(25))), 1) == [(DATA, list(range(10)))]


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_where_the_iterator_fails_the_items_before_are_emitted_and_the_failure_is_raised(policy):
    made = BatchProducer("p", lambda: Raising(1, 2, KeyError("k"), 3), 10, config=NodeConfig(policy))
    harness = NodeTestHarness(made)
    with pytest.raises(KeyError):
        harness.trigger_tick()
    assert emitted(harness) == [(DATA, [1, 2])]
    harness.trigger_tick()
    assert emitted(harness) == [(DATA, [1, 2]), (DATA, [3]), COMPLETED]


def test_a_failure_at_the_first_item_emits_nothing():
    harness = NodeTestHarness(BatchProducer("p", lambda: Raising(KeyError("k"), 3)))
    with pytest.raises(KeyError):
        harness.trigger_tick()
    assert emitted(harness) == []


def test_items_do_not_wait_longer_than_the_timeout_for_the_rest_of_their_batch():
    made = BatchProducer("p", lambda: items(), batch_size=10, batch_timeout_ms=20)
    clock = 0.0
    made.now = lambda: clock  # type: ignore[method-assign]  # an iterator that takes its time

    def items() -> Iterator[int]:
        nonlocal clock
        for i in range(5):
            clock += 10
            if i == 2:
                clock += 0.02
            yield i
            clock -= 10 - 0.009

    assert ticked(made, 3)[:2] == [(DATA, [0, 1, 2]), (DATA, [3, 4])]


def test_one_tick_of_the_run_is_one_batch():
    end = End()
    config = SchedulerConfig(tick_interval_ms=200)
    simulate(graph("g", BatchProducer("p", lambda: iter(range(25))) >> end), config=config)
    assert [len(batch) for batch in end.payloads] == [10, 10, 5]
    assert end.at_ms == pytest.approx([200, 400, 600, 800], abs=0.01)


@given(
    n=st.integers(0, 40),
    size=st.integers(1, 7),
    max_parked=st.sampled_from([0, 1, 1024]),
    seed=st.integers(0, 3),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D52")
def test_batches_hold_every_item_once_and_in_order_behind_a_full_edge(n, size, max_parked, seed):
    got: list[Any] = []

    async def slow(x: Any) -> None:
        await asyncio.sleep(0.2)
        got.append(x)

    def made() -> Any:
        producer = BatchProducer("p", lambda: iter(range(n)), size)
        producer.max_parked = max_parked
        return graph("g", producer >> via(capacity=1) >> sink(slow, name="slow"))

    assert simulate(made, seed=seed).report.reason == "finished"
    assert [x for batch in got for x in batch] == list(range(n))
    assert all(len(batch) == size for batch in got[:-1])


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (
            lambda: DataProducer("p", None),
            ValueError,
            "DataProducer 'p': data_source must be a function of 0 arguments",
        ),
        (lambda: DataProducer("p", chr), ValueError, "missing a required argument: 'i'"),
        (lambda: DataProducer("p", list, "fast"), TypeError, "DataProducer 'p': interval_ms .* got 'fast'"),
        (lambda: DataProducer("p", list, math.inf), ValueError, "interval_ms .* got inf"),
        (lambda: BatchProducer("p", [1]), ValueError, "BatchProducer 'p': data_source"),
        (
            lambda: BatchProducer("p", list, 0),
            ValueError,
            "BatchProducer 'p': batch_size must be at least 1, got 0",
        ),
        (lambda: BatchProducer("p", list, 2.5), TypeError, "batch_size must be a whole number, got 2.5"),
        (lambda: BatchProducer("p", list, 2, "1 s"), TypeError, "batch_timeout_ms .* got '1 s'"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(made, error, text):
    with pytest.raises(error, match=text):
        made()


# For meridian/_tests/nodes/test_nodes_producers.py, once /tmp/drain_sources_first.patch is in run.py
@BOTH
@pytest.mark.req("V8")
@pytest.mark.v1("L20")
def test_a_shutdown_stops_the_production_though_the_consumer_is_never_idle(producer):
    source = Source(itertools.count())

    async def slow(_: Any) -> None:
        await asyncio.sleep(0.06)

    made = graph("g", producer("p", source, 1) >> via(capacity=4) >> sink(slow, name="slow"))
    simulation = simulate(made, until_s=1, config=SchedulerConfig(shutdown_timeout_s=100))
    assert (source.closed, simulation.report.left) == (1, {})
    assert simulation.elapsed_s < 2
