"""Asynchronous additions: sources, maps, batches, joins, debounce."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian import graph, sink, source, via
from meridian.core.message import CONTROL, DATA, ERROR, Message
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes.streams import AsyncMap, Batch, Debounce, Join, JoinStrategy, from_async_iterable
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11", "V15")


def paced(*items: tuple[Any, float]) -> Any:
    """A source of items, each followed by a pause."""

    async def make() -> Any:
        for item, seconds in items:
            yield item
            await asyncio.sleep(seconds)

    return source(make(), name="paced")


def messages(got: list[Any]) -> Any:
    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload))

    return sink(keep, name="end")


# --- from_async_iterable


@pytest.mark.req("V4")
def test_a_source_is_asked_for_its_next_item_when_there_is_room_for_it():
    asked: list[int] = []

    async def items() -> Any:
        for i in range(20):
            asked.append(i)
            yield i

    seen: list[int] = []

    async def slow(x: int) -> None:
        await asyncio.sleep(1)
        seen.append(len(asked) - x)

    simulate(graph("g", from_async_iterable("numbers", items) >> via(capacity=1) >> sink(slow)))
    assert len(seen) == 20
    assert max(seen) <= 4


def test_a_function_makes_a_new_iterable_for_each_run():
    async def items() -> Any:
        yield 1

    got: list[int] = []
    made = graph("g", from_async_iterable("numbers", items) >> sink(got.append))
    simulate(made)
    simulate(made)
    assert got == [1, 1]


def test_a_stop_closes_the_iterable():
    closed: list[bool] = []

    async def items() -> Any:
        try:
            while True:
                yield 1
                await asyncio.sleep(1)
        finally:
            closed.append(True)

    simulate(graph("g", from_async_iterable("numbers", items) >> sink(lambda x: None)), until_s=2.5)
    assert closed == [True]


# --- AsyncMap


@pytest.mark.parametrize(("ordered", "expected"), [(True, [3, 1, 2]), (False, [1, 2, 3])])
def test_a_map_keeps_order_or_lets_results_overtake_each_other(ordered, expected):
    async def slow(x: int) -> int:
        await asyncio.sleep(x)
        return x

    got: list[int] = []
    simulation = simulate(
        graph(
            "g",
            source([3, 1, 2]) >> AsyncMap("map", slow, concurrency=3, ordered=ordered) >> sink(got.append),
        )
    )
    assert (got, simulation.elapsed_s) == (expected, 3.0)


def test_a_map_has_no_more_calls_in_progress_than_told():
    now = most = 0

    async def slow(x: int) -> int:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(1)
        now -= 1
        return x

    simulate(graph("g", source(range(10)) >> AsyncMap("map", slow, concurrency=3)))
    assert most == 3


# --- Batch


def test_a_batch_leaves_when_it_is_full_and_what_is_left_at_the_end():
    got: list[Any] = []
    simulation = simulate(graph("g", source(range(7)) >> Batch("b", 3) >> sink(got.append)))
    assert (got, simulation.report.reason) == ([[0, 1, 2], [3, 4, 5], [6]], "finished")


def test_a_batch_leaves_when_its_first_payload_has_waited_long_enough():
    at: list[tuple[float, list[Any]]] = []

    def keep(x: list[Any]) -> None:
        at.append((asyncio.get_running_loop().time(), x))

    items = [(0, 1.0), (1, 1.0), (2, 1.5), (3, 10.0)]
    simulate(
        graph("g", paced(*items) >> Batch("b", 100, within_s=2.5) >> sink(keep)),
        config=SchedulerConfig(tick_interval_ms=3_600_000),
    )
    began = at[0][0] - 2.5
    assert [(round(t - began, 6), x) for t, x in at] == [(2.5, [0, 1, 2]), (6.0, [3])]


def test_a_batch_that_filled_up_does_not_cut_the_next_one_short():
    got: list[Any] = []
    items = [(0, 0.5), (1, 0.6), (2, 0.6), (3, 10.0)]
    simulate(graph("g", paced(*items) >> Batch("b", 2, within_s=1) >> sink(got.append)))
    assert got == [[0, 1], [2, 3]]


def test_control_flushes_a_batch_and_an_error_does_not():
    harness = NodeTestHarness(Batch("b", 10))
    harness.send_message("input", 1)
    harness.send_error("input", "e")
    harness.send_control("input", "c")
    harness.send_control("input", "d")
    got = [(msg.type, msg.payload) for msg in harness.get_emitted_messages("output")]
    assert got == [(ERROR, "e"), (DATA, [1]), (CONTROL, "c"), (CONTROL, "d")]


@pytest.mark.req("V16")
def test_a_batch_carries_the_trace_of_its_first_message():
    harness = NodeTestHarness(Batch("b", 2))
    harness.send_message("input", 1, headers={"trace_id": "first"})
    harness.send_message("input", 2, headers={"trace_id": "second"})
    assert [msg.get_trace_id() for msg in harness.get_emitted_messages("output")] == ["first"]


@settings(max_examples=50)
@given(
    gaps=st.lists(st.sampled_from([0.0, 0.3, 1.0, 5.0]), max_size=30),
    size=st.integers(1, 5),
    within=st.none() | st.sampled_from([0.5, 2.0]),
    capacity=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_whenever_payloads_come_each_is_in_one_batch_in_order_and_none_is_too_large(
    gaps, size, within, capacity, seed
):
    got: list[list[int]] = []
    flow = (
        paced(*enumerate(gaps))
        >> via(capacity=capacity)
        >> Batch("b", size, within)
        >> via(capacity=capacity)
        >> sink(got.append)
    )
    simulate(graph("g", flow), seed=seed)
    assert [x for batch in got for x in batch] == list(range(len(gaps)))
    assert all(0 < len(batch) <= size for batch in got)


# --- Debounce


def test_a_debounce_emits_the_newest_when_it_has_been_quiet_and_counts_the_rest():
    node = Debounce("d", 1.0)
    got: list[Any] = []
    items = [(0, 0.5), (1, 0.9), (2, 1.1), (3, 0.1), (4, 0.0)]
    simulation = simulate(graph("g", paced(*items) >> node >> sink(got.append)))
    assert (got, node.skipped) == ([2, 4], 3)
    assert simulation.elapsed_s == pytest.approx(2.6)  # at the end nothing is waited for


def test_control_and_errors_pass_a_debounce_at_once():
    harness = NodeTestHarness(Debounce("d", 1.0))
    harness.send_message("input", 1)
    harness.send_control("input", "c")
    harness.send_error("input", "e")
    assert [msg.payload for msg in harness.get_emitted_messages("output")] == ["c", "e"]


# --- Join


def joined(left: Any, right: Any, node: Join, got: list[Any], **vias: Any) -> Any:
    options = via(**vias)
    return graph("g", left >> options >> node["a"], right >> options >> node["b"], node >> sink(got.append))


def test_a_zip_pairs_the_first_with_the_first():
    got: list[Any] = []
    node = Join("j", ["a", "b"])
    simulate(joined(source(range(3), name="x"), source("abcd", name="y"), node, got))
    assert (got, node.unmatched) == ([(0, "a"), (1, "b"), (2, "c")], 1)


@pytest.mark.req("V4")
@pytest.mark.parametrize("capacity", [1, 1000])
def test_a_zip_makes_the_faster_input_wait_and_still_takes_from_the_slower(capacity):
    produced = 0

    def fast() -> Any:
        nonlocal produced
        for i in range(300):
            produced += 1
            yield i

    ahead: list[int] = []

    async def slow() -> Any:
        for i in range(300):
            await asyncio.sleep(1)
            ahead.append(max(map(len, node._waiting.values())))
            yield i

    got: list[Any] = []
    node = Join("j", ["a", "b"], limit=5)
    simulate(joined(source(fast(), name="x"), source(slow(), name="y"), node, got, capacity=capacity))
    assert got == [(i, i) for i in range(300)]
    assert max(ahead) == 5
    assert produced == 300


def test_the_latest_of_each_input_are_put_together_once_each_has_one():
    harness = NodeTestHarness(Join("j", ["a", "b"], JoinStrategy.LATEST))
    for port, payload in [("a", 1), ("a", 2), ("b", "x"), ("a", 3), ("b", "y")]:
        harness.send_message(port, payload)
    assert [msg.payload for msg in harness.get_emitted_messages("output")] == [(2, "x"), (3, "x"), (3, "y")]


@pytest.mark.req("V7")
@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(0, 20), min_size=2, max_size=4),
    limit=st.integers(1, 4),
    capacity=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_however_inputs_interleave_a_zip_uses_each_message_once_and_in_order(lengths, limit, capacity, seed):
    ports = [f"p{i}" for i in range(len(lengths))]
    node = Join("j", ports, limit=limit)
    got: list[Any] = []
    flows = [
        source(range(n), name=f"s{i}") >> via(capacity=capacity) >> node[ports[i]]
        for i, n in enumerate(lengths)
    ]
    simulation = simulate(graph("g", *flows, node >> via(capacity=capacity) >> sink(got.append)), seed=seed)
    assert got == [(i,) * len(lengths) for i in range(min(lengths))]
    left = sum(simulation.report.left.values()) if simulation.report.left else 0
    assert node.unmatched + left + len(got) * len(lengths) <= sum(lengths)


def test_control_passes_a_join_at_once():
    harness = NodeTestHarness(Join("j", ["a", "b"]))
    harness.send_message("a", 1)
    harness.send_control("a", "c")
    assert [msg.payload for msg in harness.get_emitted_messages("output")] == ["c"]


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (lambda: from_async_iterable("s", 7), TypeError, "source 's'"),
        (lambda: AsyncMap("m", str), TypeError, "coroutine function"),
        (
            lambda: AsyncMap("m", asyncio.sleep, concurrency=0),
            ValueError,
            "concurrency=0 must be 1",
        ),
        (lambda: Batch("b", 0), ValueError, "size must be at least 1, got 0"),
        (lambda: Batch("b", 1, 0), ValueError, "within_s must be above 0, got 0"),
        (lambda: Debounce("d", -1), ValueError, "quiet_s must be above 0, got -1"),
        (lambda: Join("j", ["a"]), ValueError, "at least two"),
        (lambda: Join("j", ["a", "a"]), ValueError, "different"),
        (lambda: Join("j", "ab"), ValueError, "names"),
        (lambda: Join("j", ["a", "b"], limit=0), ValueError, "limit"),
        (
            lambda: Join("j", ["a", "b"], "JoinStrategy.ZIP or JoinStrategy.LATEST, got 'outer'"),
            ValueError,
            "JoinStrategy.ZIP or JoinStrategy.LATEST, got 'outer'",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_their_names(made, error, says):
    with pytest.raises(error, match=says):
        made()
