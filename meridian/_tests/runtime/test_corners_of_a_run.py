"""What happens in the corners of a run: feeding, stopping, failing and being watched at unusual moments."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from meridian import Emit, Scheduler, graph, node, sink, source
from meridian.core.errors import ClosedError
from meridian.core.function import Inlet
from meridian.core.message import CONTROL, DATA, ERROR, Message
from meridian.core.node import Node
from meridian.core.policies import ErrorPolicy, coalesce
from meridian.core.runtime_plan import PriorityBand
from meridian.core.scheduler import SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.core.wiring import via
from meridian.engine.step import To
from meridian.observability import (
    ObservabilityConfig,
    TracingConfig,
    configure_observability,
    configure_tracing,
)
from meridian.observability import logging as log
from meridian.observability.metrics import (
    NoopMetrics,
    PrometheusMetrics,
    configure_metrics,
    get_metrics,
)
from meridian.observability.tracing import InMemoryTracer, get_tracer
from meridian.runtime.signals import stop_on_signals
from meridian.testing import simulate

Body = Callable[[Scheduler], Awaitable[Any]]


@pytest.fixture(autouse=True)
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Returns what was logged; puts logging, metrics and tracing back."""
    kept, provider, stream = log.get_logger().config, get_metrics(), io.StringIO()
    log.replace_config(log.LogConfig(level="INFO", stream=stream))
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    configure_tracing(TracingConfig())
    configure_metrics(provider)
    log.replace_config(kept)


def prepared(made: Subgraph, **config: Any) -> Scheduler:
    scheduler = Scheduler(SchedulerConfig(**config))
    scheduler.register(made)
    return scheduler


def during(made: Subgraph, body: Body, **config: Any) -> Any:
    """Run ``made`` with ``body`` beside it; a hang is a failure."""
    scheduler = prepared(made, **config)

    async def both() -> Any:
        async with asyncio.timeout(20):
            running = asyncio.ensure_future(scheduler.run_async())
            while not scheduler.is_running() or scheduler._run is None or not scheduler._run._live:
                await asyncio.sleep(0)
            await body(scheduler)
            return await running

    return asyncio.run(both())


def run(made: Subgraph, **config: Any) -> Any:
    scheduler = prepared(made, **config)

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await scheduler.run_async()

    return asyncio.run(bounded())


def failures(report: Any) -> list[tuple[str, str, str]]:
    return [(error.node, error.phase, error.type.rpartition(".")[2]) for error in report.errors]


async def passes(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


# --- inlets


@pytest.mark.req("V2")
def test_an_inlet_takes_payloads_messages_and_addressed_items_alike():
    got: list[Any] = []
    inlet = Inlet("in")

    async def feed(scheduler: Scheduler) -> None:
        assert inlet.try_put(1)
        assert inlet.try_put(Message(DATA, 2))
        assert inlet.push(To("output", 3))
        assert got == [1, 2, 3]
        await inlet.put(4)
        inlet.close()
        inlet.close()

    report = during(graph("g", inlet >> sink(got.append, name="end")), feed)
    assert (got, report.reason, report.left) == ([1, 2, 3, 4], "finished", {})


@pytest.mark.parametrize(
    "item", [9, Message(DATA, 9), To("output", 9)], ids=["payload", "message", "addressed"]
)
def test_an_inlet_refuses_while_there_is_no_room_and_put_waits_for_it(item):
    got: list[Any] = []
    inlet, gate = Inlet("in"), asyncio.Event()

    async def wait(x: Any) -> None:
        await gate.wait()
        got.append(x)

    async def feed(scheduler: Scheduler) -> None:
        assert inlet.push(1)  # in hand
        assert inlet.try_put(2)  # on the edge
        assert not inlet.try_put(item)
        assert not inlet.push(item)
        waiting = asyncio.ensure_future(inlet.put(item))
        await passes()
        assert not waiting.done()
        gate.set()
        await waiting
        inlet.close()

    report = during(graph("g", inlet >> via(capacity=1) >> sink(wait, name="end")), feed)
    assert (got, report.reason) == ([1, 2, 9], "finished")


def test_another_thread_puts_pushes_and_closes():
    got: list[Any] = []
    inlet = Inlet("in")
    answers: list[bool] = []

    def work() -> None:
        answers.extend([inlet.try_put(1), inlet.push(2)])
        inlet.close()

    async def feed(scheduler: Scheduler) -> None:
        await asyncio.to_thread(work)

    report = during(graph("g", inlet >> sink(got.append, name="end")), feed)
    assert (got, answers, report.reason) == ([1, 2], [True, True], "finished")


def test_a_push_out_of_a_handler_is_a_put():
    got: list[Any] = []
    inlet = Inlet("in")

    def handle(x: int) -> None:
        got.append(x)
        if x < 3:
            assert inlet.push(x + 1)
            assert got[-1] == x
        else:
            inlet.close()

    async def feed(scheduler: Scheduler) -> None:
        assert inlet.push(0)

    report = during(graph("g", inlet >> sink(handle, name="end")), feed)
    assert (got, report.reason) == ([0, 1, 2, 3], "finished")


def test_a_push_into_an_asynchronous_node_runs_it_within_the_task_that_pushes():
    got: list[Any] = []
    inlet = Inlet("in")

    async def handle(x: int) -> None:
        got.append((x, asyncio.current_task() is feeder[0]))

    feeder: list[Any] = []

    async def feed(scheduler: Scheduler) -> None:
        feeder.append(asyncio.current_task())
        assert inlet.push(1)
        assert asyncio.current_task() is feeder[0]
        inlet.close()

    during(graph("g", inlet >> sink(handle, name="end")), feed)
    assert got == [(1, False)]


def test_an_inlet_that_was_closed_before_the_run_ends_it():
    got: list[Any] = []
    inlet = Inlet("in")
    inlet.close()
    report = run(graph("g", inlet >> sink(got.append, name="end")))
    assert (got, report.reason) == ([], "finished")
    with pytest.raises(ClosedError, match="is closed"):
        inlet.try_put(1)


def test_a_put_that_waits_for_room_is_refused_when_the_run_is_cut_short():
    inlet = Inlet("in")

    async def never(x: Any) -> None:
        await asyncio.Event().wait()

    async def feed(scheduler: Scheduler) -> None:
        inlet.push(1)
        inlet.try_put(2)
        waiting = asyncio.ensure_future(inlet.put(3))
        await passes()
        scheduler.shutdown()
        scheduler.shutdown()
        with pytest.raises(ClosedError):
            await waiting

    report = during(
        graph("g", inlet >> via(capacity=1) >> sink(never, name="end")), feed, shutdown_timeout_s=0
    )
    assert report.reason == "shutdown"
    with pytest.raises(ClosedError, match="has ended"):
        inlet.try_put(4)


def test_shutdown_closes_open_inlets_and_leaves_closed_ones():
    first, second = Inlet("first"), Inlet("second")

    async def stop(scheduler: Scheduler) -> None:
        first.close()
        scheduler.shutdown()

    made = graph("g", first >> sink(str, name="a"), second >> sink(str, name="b"))
    assert during(made, stop).reason == "shutdown"


# --- the end


def test_a_run_in_which_nothing_happens_ends_at_the_idle_timeout_counted_anew_from_the_last_item():
    got: list[int] = []
    inlet = Inlet("in")

    async def feed(scheduler: Scheduler) -> None:
        for x in range(3):
            inlet.try_put(x)
            await passes()

    report = during(graph("g", inlet >> sink(got.append, name="end")), feed, idle_timeout_s=0.01)
    assert (got, report.reason) == ([0, 1, 2], "idle")


def test_shutdown_before_the_run_drains_nothing_and_says_so():
    got: list[int] = []
    scheduler = prepared(graph("g", source(range(3)) >> sink(got.append, name="end")))
    scheduler.shutdown()
    scheduler.run()
    report = scheduler.report()
    assert report is not None
    assert (got, report.reason) == ([], "shutdown")


def test_an_abort_ends_a_drain_that_would_wait():
    inlet = Inlet("in")

    async def never(x: Any) -> None:
        await asyncio.Event().wait()

    async def stop(scheduler: Scheduler) -> None:
        inlet.push(1)
        assert scheduler._run is not None
        scheduler._run.abort()
        scheduler._run.abort()

    made = graph("g", inlet >> sink(never, name="end"))
    assert during(made, stop, shutdown_timeout_s=60).reason == "shutdown"


def test_a_start_hook_that_cancels_the_run_leaves_it_as_a_cancellation():
    class Leaves(Node):
        async def on_start(self) -> None:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        run(Subgraph.from_nodes("g", [Leaves("leaves")]))


# --- errors


def test_an_error_policy_emits_the_error_on_the_port_for_errors_or_the_first():
    got: dict[str, list[Any]] = {"first": [], "error": []}

    def fails(x: int) -> int:
        raise ValueError(x)

    plain = node(name="plain", on_error=ErrorPolicy.EMIT_ERROR)(fails)
    named = node(name="named", on_error=ErrorPolicy.EMIT_ERROR, outputs=["good", "error"])(fails)

    def keep(where: str) -> Any:
        def handle(msg: Message[Any]) -> None:
            got[where].append((msg.type, msg.payload["error_type"], msg.payload["context"]["node"]))

        return sink(handle, name=f"at {where}")

    made = graph(
        "g",
        source([1], name="a") >> plain >> keep("first"),
        source([1], name="b") >> named["error"] >> keep("error"),
    )
    report = run(made)
    assert got == {"first": [(ERROR, "ValueError", "plain")], "error": [(ERROR, "ValueError", "named")]}
    assert report.errors_total == 2


def test_a_failing_coalesce_function_costs_the_older_item_and_is_logged(logged):
    got: list[int] = []

    def fails(old: Any, new: Any) -> Any:
        raise ValueError

    inlet = Inlet("in")

    async def feed(scheduler: Scheduler) -> None:
        assert [inlet.try_put(x) for x in (1, 2, 3)] == [True] * 3
        inlet.close()

    made = graph("g", inlet >> via(capacity=1, policy=coalesce(fails)) >> sink(got.append, name="end"))
    report = during(made, feed)
    assert got == [3]
    assert report.edges[0].lost == {"coalesce_error": 2}
    assert {line["error_type"] for line in logged() if line["event"] == "edge.coalesce_error"} == {
        "ValueError"
    }


@pytest.mark.parametrize("when", ["at once", "later", "not iterable"])
def test_a_source_that_fails_is_an_error_of_the_source_and_the_rest_arrives(when):
    got: list[int] = []

    async def items() -> AsyncIterator[int]:
        if when == "later":
            yield 1
        raise ValueError

    made = graph("g", source((lambda: 3) if when == "not iterable" else items, name="s") >> sink(got.append))
    report = run(made)
    phase, kind = ("on_start", "TypeError") if when == "not iterable" else ("on_message", "ValueError")
    assert got == ([1] if when == "later" else [])
    assert failures(report) == [("s", phase, kind)]


def test_an_asynchronous_iterator_that_cannot_be_closed_is_a_source_too():
    got: list[int] = []

    class Bare:
        def __init__(self) -> None:
            self.left = [1, 2]

        def __aiter__(self) -> Bare:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    report = run(graph("g", source(Bare()) >> sink(got.append, name="end")))
    assert (got, report.reason) == ([1, 2], "finished")


def test_a_stop_interrupts_a_source_that_waits_for_room():
    gate = asyncio.Event()

    async def items() -> AsyncIterator[Any]:
        yield 1
        yield 2
        yield 3

    async def never(x: int) -> None:
        gate.set()
        await asyncio.Event().wait()

    async def stop(scheduler: Scheduler) -> None:
        await gate.wait()
        await passes()
        scheduler.shutdown()

    made = graph("g", source(items, name="s") >> via(capacity=1) >> sink(never, name="end"))
    report = during(made, stop, shutdown_timeout_s=0)
    assert report.reason == "shutdown"


# --- asynchronous functions


@pytest.mark.req("V2")
@pytest.mark.parametrize("style", ["awaits", "streams", "ordered", "unordered"])
def test_control_passes_by_an_asynchronous_function_of_payloads(style):
    got: list[Any] = []

    async def awaits(x: int) -> int:
        return -x

    async def streams(x: int) -> AsyncIterator[Any]:
        yield -x

    made: Any = {
        "awaits": lambda: node(awaits),
        "streams": lambda: node(streams),
        "ordered": lambda: node(concurrency=2)(awaits),
        "unordered": lambda: node(concurrency=2, ordered=False)(awaits),
    }[style]()

    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload))

    items = [Message(DATA, 1), Message(CONTROL, "c"), Message(DATA, 2)]
    report = run(graph("g", source(items) >> made >> sink(keep)))
    assert sorted(got, key=lambda each: (each[0].value, str(each[1]))) == [
        (CONTROL, "c"),
        (DATA, -1),
        (DATA, -2),
    ]
    assert report.errors == []


def test_an_asynchronous_generator_that_yields_none_sends_nothing_for_it():
    got: list[Any] = []

    @node
    async def streams(x: int) -> AsyncIterator[Any]:
        yield x
        yield None
        yield -x

    run(graph("g", source([1, 2]) >> streams >> sink(got.append, name="end")))
    assert got == [1, -1, 2, -2]


@pytest.mark.parametrize("style", ["streams", "ordered", "unordered"])
def test_a_run_that_is_cut_short_cancels_what_is_in_progress(style):
    begun, cancelled = asyncio.Event(), []

    async def waits(x: int) -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(x)
            raise
        return x

    async def streams(x: int) -> AsyncIterator[int]:
        yield await waits(x)

    made: Any = {
        "streams": lambda: node(streams),
        "ordered": lambda: node(concurrency=2)(waits),
        "unordered": lambda: node(concurrency=2, ordered=False)(waits),
    }[style]()

    async def stop(scheduler: Scheduler) -> None:
        await begun.wait()
        await passes()
        scheduler.shutdown()

    report = during(graph("g", source(range(2)) >> made >> sink(str)), stop, shutdown_timeout_s=0)
    assert report.reason == "shutdown"
    assert sorted(cancelled) == ([0] if style == "streams" else [0, 1])
    assert report.errors == []


def test_results_of_a_pool_leave_in_the_order_of_their_messages_unless_told_otherwise():
    def results(ordered: bool) -> list[int]:
        got: list[int] = []
        second = asyncio.Event()

        @node(concurrency=2, ordered=ordered)
        async def pool(x: int) -> int:
            if x == 0:
                await second.wait()
            second.set()
            return x

        run(graph("g", source(range(2)) >> pool >> sink(got.append)))
        return got

    assert results(True) == [0, 1]
    assert results(False) == [1, 0]


@pytest.mark.req("V2")
@pytest.mark.parametrize("ordered", [True, False])
def test_a_pool_works_on_as_many_as_it_may_however_little_room_there_is_for_their_results(ordered: bool):
    got: list[int] = []
    third = asyncio.Event()

    @node(concurrency=3, ordered=ordered)
    async def pool(x: int) -> int:
        if x == 2:
            third.set()
        await asyncio.wait_for(third.wait(), 5)
        return x

    done = simulate(graph("g", source(range(3)) >> pool >> via(capacity=1) >> sink(got.append)))
    assert (sorted(got), done.report.errors) == ([0, 1, 2], [])


@pytest.mark.req("V4")
@pytest.mark.parametrize("cut_short", [False, True])
def test_what_a_function_emits_when_it_no_longer_runs_goes_on_at_the_end_of_the_run(cut_short: bool):
    got: list[int] = []
    kept: list[Emit[int]] = []

    async def numbers() -> AsyncIterator[int]:
        yield 1
        while not got:
            await asyncio.sleep(0)
        kept[0](2)
        if cut_short:
            scheduler._run.abort()
            await asyncio.Event().wait()

    def keeps(n: int, emit: Emit[int]) -> None:
        kept.append(emit)
        emit(n)

    scheduler = prepared(graph("g", source(numbers) >> node(keeps) >> sink(got.append, name="end")))
    scheduler.run()
    left = {"keeps:output->end:input": 1} if cut_short else {}
    assert (got, scheduler.report().left) == ([1] if cut_short else [1, 2], left)


# --- settings


def test_priority_and_capacity_change_during_a_run_and_unknown_edges_are_only_logged(logged):
    got: list[int] = []
    inlet = Inlet("in")
    made = graph("g", inlet >> sink(got.append, name="end"), source([]) >> sink(str, name="other"))
    edge, other = made.edges

    async def change(scheduler: Scheduler) -> None:
        scheduler.set_priority(edge.id, PriorityBand.HIGH)
        scheduler.set_capacity(other.id, 5)
        scheduler.set_capacity(edge.id, 2)
        scheduler.set_capacity("nowhere", 2)
        scheduler.set_priority("nowhere", PriorityBand.HIGH)
        assert scheduler._run is not None
        assert not scheduler._run.set_band("nowhere", 1)
        assert not scheduler._run.set_capacity("nowhere", 1)
        await passes()
        assert [inlet.try_put(x) for x in range(3)] == [True, True, False]
        inlet.close()

    during(made, change)
    assert (got, edge.capacity, other.capacity) == ([0, 1], 2, 5)
    assert [line["event"] for line in logged() if "found" in line["event"]] == [
        "scheduler.edge_not_found"
    ] * 2


# --- being watched


class Echo(Node):
    def __init__(self, name: str) -> None:
        ports = Node.with_ports(name, ["input"], ["output"])
        super().__init__(name, ports.inputs, ports.outputs)

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.emit("output", msg)


class AsyncEcho(Echo):
    async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.emit("output", msg)


class Keeps(Node):
    """Has an emit of its own, put there by somebody else."""

    def __init__(self, name: str) -> None:
        ports = Node.with_ports(name, ["input"], ["output"])
        super().__init__(name, ports.inputs, ports.outputs)
        self.emitted: list[Any] = []

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        vars(self)["emit"] = self.emitted.append
        self.emitted.append(msg.payload)


def echoes(inlet: Inlet, got: list[int]) -> Subgraph:
    made = Subgraph("g")
    ends = sink(got.append, name="end").node()
    nodes = [inlet, Echo("plain"), AsyncEcho("async"), ends]
    for each in nodes:
        made.add_node(each)
    made.connect(("in", "output"), ("plain", "input"))
    made.connect(("plain", "output"), ("async", "input"))
    made.connect(("async", "output"), ("end", "input"))
    return made


@pytest.mark.req("X1")
def test_tracing_metrics_and_debug_follow_a_reconfiguration_during_a_run():
    got: list[int] = []
    inlet, stream = Inlet("in"), io.StringIO()
    found: dict[str, Any] = {}

    async def change(scheduler: Scheduler) -> None:
        await inlet.put(0)
        await passes(20)
        configure_observability(
            ObservabilityConfig(
                log_level="DEBUG",
                log_stream=stream,
                metrics_enabled=True,
                tracing_enabled=True,
                tracing_provider="inmemory",
            )
        )
        await inlet.put(1)
        await passes(20)
        tracer, metrics = get_tracer(), get_metrics()
        assert isinstance(tracer, InMemoryTracer)
        assert isinstance(metrics, PrometheusMetrics)
        spans = [span for span in tracer.get_spans() if span.name == "node.on_message"]
        found["nodes"] = sorted(str(span.attributes["node"]) for span in spans)
        found["text"] = metrics.render()
        configure_metrics(PrometheusMetrics())  # metrics only
        await inlet.put(2)
        await passes(20)
        configure_observability(ObservabilityConfig(log_level="ERROR", log_stream=io.StringIO()))
        await inlet.put(3)
        await passes(20)
        inlet.close()

    report = during(echoes(inlet, got), change)
    assert (got, report.errors) == ([0, 1, 2, 3], [])
    assert found["nodes"] == ["async", "end", "plain"]
    assert "edge_enqueued_total" in found["text"]
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    emitted = [line["node"] for line in events if line["event"] == "node.emit"]
    assert emitted == ["plain", "async", "plain", "async"]
    processed = [line["node"] for line in events if line["event"] == "node.message_processed"]
    assert processed == ["plain", "async", "end"] * 2


def test_a_node_that_replaced_its_own_emit_keeps_that_when_debug_is_switched_on():
    inlet, keeps = Inlet("in"), Keeps("keeps")
    made = Subgraph("g")
    made.add_node(inlet)
    made.add_node(keeps)
    made.connect(("in", "output"), ("keeps", "input"))

    async def change(scheduler: Scheduler) -> None:
        inlet.push(1)
        log.replace_config(log.LogConfig(level="DEBUG", stream=io.StringIO()))
        inlet.push(2)
        inlet.close()

    during(made, change)
    assert keeps.emitted == [1, 2]
    assert "emit" in vars(keeps)


def test_functions_of_every_kind_are_traced_or_left_alone_and_give_the_same():
    configure_tracing(TracingConfig(enabled=True, provider="inmemory"))
    got: list[int] = []

    @node
    async def awaits(x: int) -> int:
        return x + 1

    @node
    def streams(x: int) -> Iterator[int]:
        yield x
        yield -x

    run(graph("g", source([1, 2]) >> awaits >> streams >> sink(got.append, name="end")))
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    spans = [str(s.attributes["node"]) for s in tracer.get_spans() if s.name == "node.on_message"]
    assert got == [2, -2, 3, -3]
    assert (spans.count("awaits"), spans.count("streams"), spans.count("end")) == (2, 2, 4)


class Written:
    """A provider that is written to, not read."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], float] = {}

    def counter(self, name: str, labels: Any = None) -> Any:
        counts, key = self.counts, (name, next(iter((labels or {}).values()), ""))
        counts.setdefault(key, 0)

        class Counter:
            def inc(self, n: float = 1) -> None:
                counts[key] += n

        return Counter()

    def gauge(self, name: str, labels: Any = None) -> Any:
        return NoopMetrics().gauge(name, labels)

    def histogram(self, name: str, labels: Any = None) -> Any:
        return NoopMetrics().histogram(name, labels)


def test_a_provider_of_metrics_that_is_written_to_gets_the_numbers_when_the_run_ends():
    provider = Written()
    configure_metrics(provider)
    got: list[int] = []

    inlet = Inlet("in")

    async def feed(scheduler: Scheduler) -> None:
        assert [inlet.try_put(x) for x in (1, 2, 3)] == [True] * 3
        inlet.close()

    merge = coalesce(lambda a, b: a + b)
    made = graph("g", inlet >> via(capacity=1, policy=merge) >> sink(got.append, name="end"))
    during(made, feed)
    edge = made.edges[0].id
    assert got == [6]
    assert provider.counts["edge_merged_total", edge] == 2
    assert provider.counts["edge_dequeued_total", edge] == 1
    assert provider.counts["node_messages_total", "end"] == 1
    assert provider.counts["node_errors_total", "end"] == 0


def test_numbers_are_published_once_however_often_they_are_read():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    inlet = Inlet("in")

    async def read(scheduler: Scheduler) -> None:
        inlet.push(1)
        first = provider.render()
        assert "node_messages_total" in first
        assert provider.render() == first
        inlet.close()

    during(graph("g", inlet >> sink(str, name="end")), read)


# --- signals


@pytest.mark.req("V8")
def test_the_second_interrupt_cuts_short_what_the_first_asked_to_stop():
    before = signal.getsignal(signal.SIGINT)
    stops: list[int] = []
    with stop_on_signals(lambda: stops.append(1)) as came:
        signal.raise_signal(signal.SIGINT)
        assert (came, stops) == ([signal.SIGINT], [1])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (came, stops) == ([signal.SIGINT], [1])
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_somebody_else_for_the_request_to_end_is_left_alone():
    theirs: list[int] = []

    def handle(number: int, frame: Any) -> None:
        theirs.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        with stop_on_signals(lambda: None) as came:
            signal.raise_signal(signal.SIGTERM)
        assert (came, theirs) == ([], [signal.SIGTERM])
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        signal.signal(signal.SIGTERM, before)


def test_no_handler_is_installed_outside_the_main_thread():
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_signals(lambda: None) as came:
            found.append((signal.getsignal(signal.SIGINT) is before, came))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert found == [(True, [])]


@pytest.mark.req("V9", "V10")
def test_a_result_that_does_not_fit_the_schema_is_reported_with_the_edge_and_the_class_but_not_the_payload():
    @node
    def wrong(x: int) -> Any:
        return "secret"

    @node
    def takes(x: int) -> None:
        """Never called."""

    report = run(graph("g", source([1]) >> wrong >> takes))
    (error,) = report.errors
    assert error.type == "meridian.core.errors.PayloadError"
    assert (
        error.message
        == "edge wrong:output->takes:input refused <str>: it doesn't fit the schema of the input port"
    )


@pytest.mark.req("V9")
def test_a_result_for_a_port_that_is_not_there_is_reported_without_the_port_which_may_be_a_payload():
    @node(outputs=["a", "b"])
    def routes(x: int) -> Any:
        return To("secret", x)

    report = run(graph("g", source([1]) >> routes))
    (error,) = report.errors
    assert (error.type, error.message) == ("meridian.core.errors.PortError", "[redacted]")


def _kinds() -> dict[str, Any]:
    def fails(x: int) -> None:
        if x % 3 == 1:
            raise ValueError

    options: Any = {"on_error": ErrorPolicy.EMIT_ERROR}

    @node(**options)
    def plain(x: int) -> int:
        fails(x)
        return x

    @node(**options)
    def untyped(x):
        fails(x)
        return x

    @node(**options)
    def message(x: Message[int]) -> Any:
        fails(x.payload)
        return x.payload

    @node(**options)
    def emits(x: int, emit: Emit[int]) -> None:
        fails(x)
        emit(x)

    @node(**options)
    def stream(x: int) -> Iterator[int]:
        fails(x)
        yield x

    @node(**options)
    async def asynchronous(x: int) -> int:
        fails(x)
        return x

    @node(**options)
    async def suspends(x: int) -> int:
        await asyncio.sleep(0)
        fails(x)
        return x

    @node(concurrency=4, **options)
    async def pool(x: int) -> int:
        await asyncio.sleep(0.001 * (x % 4))
        fails(x)
        return x

    @node(**options)
    async def generator(x: int) -> AsyncIterator[int]:
        fails(x)
        yield x

    class Emits(Node):
        error_policy = ErrorPolicy.EMIT_ERROR

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            fails(msg.payload)
            self.emit("output", msg)

    class Sends(Emits):
        async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            fails(msg.payload)
            await self.send("output", msg)

    made: dict[str, Any] = {
        each.name: each
        for each in (plain, untyped, message, emits, stream, asynchronous, suspends, pool, generator)
    }
    for cls in (Emits, Sends):
        like = Node.with_ports(cls.__name__, ["input"], ["output"])
        made[cls.__name__] = cls(like.name, like.inputs, like.outputs)
    return made


@pytest.mark.req("V7", "V9")
@pytest.mark.parametrize("capacity", [1, 3, 1024])
@pytest.mark.parametrize("kind", _kinds())
def test_an_error_that_is_emitted_keeps_its_place_among_the_results(kind, capacity):
    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append("error" if msg.type is ERROR else msg.payload)

    run(graph("g", source(range(100)) >> _kinds()[kind] >> via(capacity=capacity) >> sink(keep)))
    assert got == ["error" if x % 3 == 1 else x for x in range(100)]


@pytest.mark.req("V12")
@pytest.mark.parametrize("enveloped", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_that_yields_none_sends_nothing_whatever_it_was_given(enveloped, asynchronous):
    @node
    def plain(x: int):
        yield None
        yield x

    @node
    async def asynchronously(x: int):
        yield None
        yield x

    items = [Message(DATA, 1), Message(DATA, 2)] if enveloped else [1, 2]
    got: list[Any] = []
    run(graph("g", source(items) >> (asynchronously if asynchronous else plain) >> sink(got.append)))
    assert got == [1, 2]
