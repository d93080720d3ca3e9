"""Pools and workers: nothing lost, nothing twice, in order, and the loop is never held up."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian import MessageType, Scheduler, graph, sink, source, via
from meridian._tests.nodes.parts import EMITS, RAISES, payloads
from meridian.core.message import CONTROL, DATA, ERROR, Message
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes.workers import AsyncWorker, WorkerPool
from meridian.testing import NodeTestHarness, simulate

pytestmark = [pytest.mark.req("V11"), pytest.mark.usefixtures("engine")]


def run(flow: Any, **config: Any) -> Any:
    """Run in real time (threads take real time), but never for ever."""
    scheduler = Scheduler(SchedulerConfig(**config))
    scheduler.register(graph("g", flow))

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await scheduler.run_async()

    return asyncio.run(bounded())


# --- WorkerPool


@pytest.mark.v1("L11", "D60")
def test_a_pool_answers_at_once_and_in_order_in_the_harness():
    harness = NodeTestHarness(WorkerPool("pool", lambda x: x * 2, pool_size=2))
    for i in range(5):
        harness.send_message("input", i)
    assert payloads(harness) == [0, 2, 4, 6, 8]


@pytest.mark.v1("D60")
def test_a_pool_works_on_as_many_messages_at_a_time_as_it_has_threads():
    together = threading.Barrier(3, timeout=10)
    names = set()

    def meets(x: int) -> int:
        together.wait()  # passes only if three calls are in it at once
        names.add(threading.current_thread().name)
        return x

    got: list[int] = []
    report = run(source(range(6)) >> WorkerPool("pool", meets, pool_size=3) >> sink(got.append))
    assert (got, report.reason) == (list(range(6)), "finished")
    assert threading.current_thread().name not in names


@pytest.mark.req("V2")
@pytest.mark.v1("D60")
def test_the_loop_goes_on_while_a_pool_works():
    asked = threading.Event()
    went_on: list[bool] = []

    def waits_for_the_loop(x: int) -> bool:
        return asked.wait(10)

    async def rings() -> Any:
        yield 1
        await asyncio.sleep(0)
        asked.set()

    run(source(rings()) >> WorkerPool("pool", waits_for_the_loop) >> sink(went_on.append))
    assert went_on == [True]


def test_a_pool_keeps_the_order_of_messages_whatever_the_order_of_results():
    first_is_done = threading.Event()

    def first_last(x: int) -> int:
        if x == 0:
            assert first_is_done.wait(10)
        elif x == 3:
            first_is_done.set()
        return x

    got: list[int] = []
    run(source(range(8)) >> WorkerPool("pool", first_last, pool_size=4) >> sink(got.append))
    assert got == list(range(8))


@pytest.mark.req("V4")
def test_a_pool_takes_no_more_than_twice_its_threads():
    most = 0
    node = WorkerPool("pool", lambda x: x, pool_size=2)

    class Watch:
        def __call__(self, x: int) -> int:
            nonlocal most
            most = max(most, len(node._jobs))
            return x

    node._user_function = Watch()
    got: list[int] = []
    run(source(range(200)) >> node >> via(capacity=1) >> sink(got.append))
    assert got == list(range(200))
    assert most <= 4


def test_a_pool_passes_control_and_errors_behind_what_came_before():
    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload))

    items = [Message(DATA, 1), Message(ERROR, "e"), Message(DATA, 2), Message(ERROR, "f")]
    run(source(items) >> WorkerPool("pool", lambda x: -x) >> sink(keep))
    assert got == [(DATA, -1), (ERROR, "e"), (DATA, -2), (ERROR, "f")]


@pytest.mark.req("V16")
@pytest.mark.v1("D54")
def test_what_a_pool_emits_carries_trace_headers_and_parent():
    seen: list[Message[Any]] = []
    came = Message(DATA, 1, {"unit": "m"}, {"trace_id": "t", "tenant": "x"})

    def keep(msg: Message[Any]) -> None:
        seen.append(msg)

    run(source([came]) >> WorkerPool("pool", lambda x: x + 1) >> sink(keep))
    (left,) = seen
    assert (left.payload, left.get_trace_id(), left.headers["tenant"], left.metadata) == (
        2,
        "t",
        "x",
        {"unit": "m"},
    )
    assert left.get_parent_id() == came.get_id()


@pytest.mark.req("V16")
def test_a_message_made_in_a_thread_of_a_pool_inherits_the_trace():
    made: list[Message[Any]] = []

    def makes(x: int) -> None:
        made.append(Message(DATA, x))

    run(
        source([Message(DATA, 1, None, {"trace_id": "one"}), Message(DATA, 2, None, {"trace_id": "two"})])
        >> WorkerPool("pool", makes)
    )
    assert sorted((message.payload, message.get_trace_id()) for message in made) == [(1, "one"), (2, "two")]


@pytest.mark.req("V9")
def test_failing_calls_follow_the_error_policy():
    def fails(x: int) -> int:
        if x == 1:
            raise ValueError("secret")
        return x

    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload if msg.type is DATA else msg.payload["error_type"]))

    report = run(source(range(3)) >> WorkerPool("pool", fails, config=EMITS) >> sink(keep))
    assert got == [(DATA, 0), (ERROR, "ValueError"), (DATA, 2)]
    assert report.errors_total == 1
    got.clear()
    report = run(source(range(3)) >> WorkerPool("pool", fails, config=RAISES) >> sink(keep))
    assert got == [(DATA, 0), (DATA, 2)]
    assert [(error.node, error.type) for error in report.errors] == [("pool", "ValueError")]
    assert "secret" not in str(report)


def test_a_stop_waits_for_calls_in_progress_and_drops_none():
    got: list[int] = []
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=10))

    def stops(x: int) -> int:
        if x == 0:
            scheduler.shutdown()
        return x

    pool = WorkerPool("pool", stops, pool_size=2)
    scheduler.register(graph("g", source([0]) >> pool >> sink(got.append)))
    scheduler.run()
    assert (got, pool._pool) == ([0], None)


def test_a_call_that_outlasts_the_shutdown_is_given_up_and_said(records):
    release = threading.Event()
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))

    def hangs(x: int) -> int:
        scheduler.shutdown()
        release.wait(10)
        return x

    got: list[int] = []
    scheduler.register(graph("g", source([0]) >> WorkerPool("pool", hangs) >> sink(got.append)))
    scheduler.run()
    release.set()
    assert got == []
    assert [(record["node"], record["n"]) for record in records("function_node.abandoned")] == [("pool", 1)]


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (lambda: WorkerPool("p", None), ValueError, "function"),  # type: ignore[arg-type]
        (lambda: WorkerPool("p", threading.Event), ValueError, "1 positional"),
        (lambda: WorkerPool("p", asyncio.sleep), TypeError, "AsyncWorker"),
        (lambda: WorkerPool("p", str.upper, 0), ValueError, "pool_size must be at least 1, got 0"),
        (lambda: WorkerPool("p", str.upper, 1.5), TypeError, "pool_size must be a whole number, got 1.5"),  # type: ignore[arg-type]
        (lambda: AsyncWorker("p", asyncio.sleep, max_concurrent=True), TypeError, "max_concurrent"),
        (lambda: AsyncWorker("p", 7), ValueError, "function"),  # type: ignore[arg-type]
    ],
)
def test_wrong_parameters_are_refused_with_their_names(made, error, says):
    with pytest.raises(error, match=says):
        made()


# --- AsyncWorker


@pytest.mark.v1("L11")
def test_an_async_worker_is_driven_by_plain_calls_in_the_harness():
    async def slow(x: int) -> int:
        await asyncio.sleep(0.001)
        return x * 10

    node = AsyncWorker("worker", slow)
    harness = NodeTestHarness(node)
    node.on_start()
    for i in range(6):
        harness.send_message("input", i)
    for _ in range(20):
        harness.trigger_tick()
    node.on_stop()
    assert payloads(harness) == [0, 10, 20, 30, 40, 50]


@pytest.mark.v1("D61")
def test_without_on_start_no_input_vanishes():
    async def same(x: int) -> int:
        return x

    harness = NodeTestHarness(AsyncWorker("worker", same))
    harness.send_message("input", 1)
    harness.trigger_tick()
    assert payloads(harness) == [1]


@pytest.mark.v1("D61")
def test_results_do_not_wait_for_a_tick_and_work_is_bounded():
    now, most = 0, 0

    async def slow(x: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(10 - x)
        now -= 1
        return x

    got: list[int] = []
    simulation = simulate(
        graph("g", source(range(6)) >> AsyncWorker("worker", slow, max_concurrent=3) >> sink(got.append)),
        config=SchedulerConfig(tick_interval_ms=3_600_000),
    )
    assert (got, most) == ([0, 1, 2, 3, 4, 5], 3)
    assert simulation.elapsed_s < 30
    assert simulation.report.reason == "finished"


@pytest.mark.v1("D61")
def test_an_error_message_does_not_overtake_results_in_flight():
    async def slow(x: int) -> int:
        await asyncio.sleep(1)
        return x

    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append(msg.payload)

    items = [1, Message(ERROR, "e"), 2]
    simulate(graph("g", source(items) >> AsyncWorker("worker", slow) >> sink(keep)))
    assert got == [1, "e", 2]


@pytest.mark.v1("D61")
def test_control_waits_for_the_results_of_what_came_before_it():
    async def slow(x: int) -> int:
        await asyncio.sleep(1)
        return x

    async def items() -> Any:
        yield 1
        await asyncio.sleep(0.5)
        yield Message(CONTROL, "c")

    got: dict[Any, float] = {}

    def keep(msg: Message[Any]) -> None:
        got[msg.payload] = asyncio.get_running_loop().time()

    simulate(graph("g", source(items()) >> AsyncWorker("worker", slow) >> sink(keep)))
    assert got["c"] == got[1]  # not half a second earlier; on the edge behind it, CONTROL goes first again


@pytest.mark.v1("D61")
def test_after_a_refused_emit_or_a_raised_error_the_worker_goes_on():
    async def fails(x: int) -> int:
        if x == 0:
            raise ValueError
        return x

    node = AsyncWorker("worker", fails, config=RAISES)
    refuse = [True]
    emitted: list[Any] = []

    def emit(port: str, msg: Message[Any]) -> Message[Any]:
        if refuse.pop() if refuse else False:
            raise RuntimeError("Backpressure: Edge e is full (capacity: 1)")
        emitted.append(msg.payload)
        return msg

    node.emit = emit  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"^$"):
        node.on_message("input", Message(DATA, 0))
    with pytest.raises(RuntimeError, match="Backpressure"):
        node.on_message("input", Message(DATA, 1))
    node.on_message("input", Message(DATA, 2))
    assert emitted == [1, 2]


@pytest.mark.v1("D61", "D52")
def test_a_stop_drains_what_is_in_work():
    async def slow(x: int) -> int:
        await asyncio.sleep(5)
        return x

    async def endless() -> Any:
        x = 0
        while True:
            yield x
            x += 1
            await asyncio.sleep(1)

    got: list[int] = []
    made = graph("g", source(endless()) >> AsyncWorker("worker", slow) >> sink(got.append))
    simulation = simulate(made, until_s=2.5, config=SchedulerConfig(shutdown_timeout_s=60))
    assert (got, simulation.report.reason) == ([0, 1, 2], "shutdown")


def test_what_is_in_work_when_a_shutdown_runs_out_of_time_is_cancelled_and_awaited():
    ended: list[str] = []

    async def hangs(x: int) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return x

    simulate(
        graph("g", source([1, 2]) >> AsyncWorker("worker", hangs)),
        until_s=1,
        config=SchedulerConfig(shutdown_timeout_s=1),
    )
    assert ended == ["cancelled", "cancelled"]


@pytest.mark.req("V9")
def test_a_call_cancelled_from_within_fails_its_message_only():
    async def suicidal(x: int) -> int:
        if x == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return x

    got: list[int] = []
    simulation = simulate(graph("g", source(range(3)) >> AsyncWorker("worker", suicidal) >> sink(got.append)))
    assert (got, simulation.report.errors_total) == ([0, 2], 1)


@pytest.mark.v1("D53")
def test_a_failing_call_is_logged_with_its_real_type(records, log):
    async def fails(x: int) -> int:
        raise LookupError("secret")

    harness = NodeTestHarness(AsyncWorker("worker", fails))
    harness.send_message("input", 1)
    assert [record["error_type"] for record in records("function_node.error")] == ["LookupError"]
    assert "secret" not in log.getvalue()


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")


def test_what_a_call_sets_in_its_context_stays_there():
    async def sets(x: int) -> str:
        before = variable.get()
        variable.set(f"set by {x}")
        return before

    got: list[str] = []
    simulate(graph("g", source(range(3)) >> AsyncWorker("worker", sets) >> sink(got.append)))
    assert got == ["outside"] * 3


def test_messages_on_other_ports_are_ignored():
    async def same(x: int) -> int:
        return x

    for node in (AsyncWorker("worker", same), WorkerPool("pool", lambda x: x)):
        harness = NodeTestHarness(node)
        harness.send_message("elsewhere", 1)
        assert payloads(harness) == []


Kind = st.sampled_from([MessageType.DATA, MessageType.ERROR])


@pytest.mark.req("V7")
@settings(max_examples=40)
@given(
    items=st.lists(st.tuples(Kind, st.integers(0, 9)), max_size=30),
    capacity=st.integers(1, 4),
    concurrent=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_whatever_comes_leaves_once_and_in_order(items, capacity, concurrent, seed):
    async def slow(x: int) -> int | None:
        await asyncio.sleep(x % 4)
        if x == 7:
            raise ValueError
        return None if x == 8 else x

    came = [Message(kind, payload) for kind, payload in items]
    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload))

    worker = AsyncWorker("worker", slow, max_concurrent=concurrent)
    flow = source(came) >> via(capacity=capacity) >> worker >> via(capacity=capacity) >> sink(keep)
    simulation = simulate(graph("g", flow), seed=seed)
    assert got == [(kind, x) for kind, x in items if kind is ERROR or x not in (7, 8)]
    assert simulation.report.errors_total == sum(kind is DATA and x == 7 for kind, x in items)
    assert simulation.report.reason == "finished"
