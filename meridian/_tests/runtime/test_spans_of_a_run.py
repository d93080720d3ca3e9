"""Spans of a run: one tree for each trace, whatever the nodes are written like."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from meridian import (
    Emit,
    Inlet,
    Message,
    MessageType,
    Node,
    Scheduler,
    Subgraph,
    To,
    block,
    coalesce,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian.core.policies import ErrorPolicy
from meridian.observability import (
    InMemoryTracer,
    TracingConfig,
    configure,
    configure_tracing,
    get_logger,
    get_tracer,
    start_span,
    traceparent,
    tracing,
)

DATA = MessageType.DATA

Tree = dict[str, Any]


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    yield
    configure_tracing(TracingConfig())


def in_memory(**config: Any) -> InMemoryTracer:
    configure_tracing(TracingConfig(enabled=True, provider="inmemory", **config))
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    return tracer


@pytest.fixture
def otel(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """Traces to OpenTelemetry's SDK, all or the share that the parameter says; returns what tells the finished spans."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from meridian.observability.otel_spans import OpenTelemetryTracer

    exporter, provider = memory.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    share = getattr(request, "param", 1.0)
    config = TracingConfig(enabled=True, provider="opentelemetry", sample_rate=share)
    tracing.use_tracer(OpenTelemetryTracer(config, provider))
    yield exporter.get_finished_spans
    provider.shutdown()


def run(*graphs: Subgraph) -> Scheduler:
    scheduler = Scheduler()
    for each in graphs:
        scheduler.register(each)
    scheduler.run()
    report = scheduler.report()
    assert report is not None
    assert report.errors == []
    return scheduler


def trees(spans: Any) -> list[Any]:
    """One nested list of names of nodes for each span without a parent; fails if a parent is missing."""
    known = {span.context.span_id for span in spans}
    children: dict[int | None, list[Any]] = {}
    for span in sorted(spans, key=lambda span: (span.start_time, span.attributes["meridian.node"])):
        above = None if span.parent is None else span.parent.span_id
        assert above is None or above in known
        children.setdefault(above, []).append(span)

    def below(span: Any) -> Any:
        name = span.attributes["meridian.node"]
        under = [below(each) for each in children.get(span.context.span_id, ())]
        return [name, *under] if under else name

    return [below(span) for span in children.get(None, ())]


@node
def half(n: int) -> int:
    return n // 2


@node
async def later(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


@node(concurrency=4)
async def pool(n: int) -> int:
    await asyncio.sleep(0)
    return n


@node
def twice(n: int) -> Iterator[int]:
    yield n
    yield n


@node
async def twice_later(n: int) -> AsyncIterator[int]:
    yield n
    await asyncio.sleep(0)
    yield n


@node
def emits(n: int, emit: Callable[[int], None]) -> None:
    emit(n)


@node
def enveloped(message: Message[int]) -> Message[int]:
    return Message(DATA, message.payload)


class Echo(Node):
    def __init__(self, name: str) -> None:
        ports = Node.with_ports(name, ["input"], ["output"])
        super().__init__(name, ports.inputs, ports.outputs)

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.emit("output", Message(DATA, msg.payload))


class Passing(Echo):
    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.emit("output", msg)


class Sending(Echo):
    async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        await self.send("output", Message(DATA, msg.payload))


class Ticking(Echo):
    """Makes one message, at its first tick."""

    made = False

    def _handle_tick(self) -> None:
        if not self.made:
            self.made = True
            self.emit("output", Message(DATA, 1))


END = sink(lambda n: None, name="end")


@pytest.mark.req("V16", "X1")
@pytest.mark.parametrize(
    ("kind", "ends"),
    [(half, 1), (later, 1), (pool, 1), (twice, 2), (twice_later, 2), (emits, 1), (enveloped, 1)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_kind_of_function_hands_its_span_on_as_parent(otel: Callable[[], Any], kind: Any, ends: int):
    run(graph("g", source([1, 2], name="numbers") >> kind >> END))
    assert trees(otel()) == [["numbers", [kind.name, *["end"] * ends]]] * 2


@pytest.mark.req("V16", "X1")
@pytest.mark.parametrize("kind", [Echo, Passing, Sending])
def test_every_kind_of_class_hands_its_span_on_as_parent(otel: Callable[[], Any], kind: type[Echo]):
    run(graph("g", source([1, 2], name="numbers") >> kind("node") >> END))
    assert trees(otel()) == [["numbers", ["node", "end"]]] * 2


@pytest.mark.req("V16", "X1")
def test_a_message_is_one_tree_across_fan_out_an_asynchronous_node_and_a_subgraph(otel: Callable[[], Any]):
    inner = Subgraph("inner")
    inner.add_node(later.node("later"))
    inner.expose_input("in", ("later", "input"))
    inner.expose_output("out", ("later", "output"))
    made = Subgraph("g")
    for each in (source([1, 2, 3], name="numbers"), half.node("half"), Echo("echo"), END.node("end")):
        made.add_node(each)
    made.add_node(inner)
    made.connect(("numbers", "output"), ("half", "input"))
    made.connect(("numbers", "output"), ("inner", "in"))
    made.connect(("half", "output"), ("echo", "input"))
    made.connect(("inner", "out"), ("end", "input"))
    ends = END.node("other end")
    made.add_node(ends)
    made.connect(("echo", "output"), ("other end", "input"))
    run(made)
    spans = otel()
    found = trees(spans)
    assert len(found) == 3
    for name, *below in found:
        assert name == "numbers"
        assert sorted(below, key=str) == [["half", ["echo", "other end"]], ["inner/later", "end"]]
    assert len({span.context.trace_id for span in spans}) == 3
    for span in spans:
        expected = traceparent.as_hex(span.attributes["meridian.trace_id"])
        assert f"{span.context.trace_id:032x}" == expected
        kind = "PRODUCER" if span.name == "node.produce" else "CONSUMER"
        assert span.kind.name == kind


@pytest.mark.req("V16")
def test_what_a_tick_makes_begins_a_trace_of_its_own(otel: Callable[[], Any]):
    made = Subgraph("g")
    made.add_node(Ticking("ticks"))
    made.add_node(END.node("end"))
    made.connect(("ticks", "output"), ("end", "input"))
    scheduler = Scheduler()
    scheduler.register(made)

    async def until_handled() -> None:
        running = asyncio.create_task(scheduler.run_async())
        while not any(span.attributes.get("meridian.node") == "end" for span in otel()):
            await asyncio.sleep(0.001)
        scheduler.shutdown()
        await running

    asyncio.run(asyncio.wait_for(until_handled(), 60))
    messages = [span for span in otel() if span.name in ("node.produce", "node.on_message")]
    assert trees(messages) == [["ticks", "end"]]


@pytest.mark.req("V16")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_trace_that_comes_from_elsewhere_goes_on(otel: Callable[[], Any], asynchronous: bool):
    trace, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    came = Message(DATA, 1, headers={"traceparent": f"00-{trace}-{span_id}-01"})

    async def items() -> AsyncIterator[Any]:
        yield came

    run(graph("g", source(items if asynchronous else [came], name="numbers") >> half >> END))
    first, second = sorted(otel(), key=lambda span: span.start_time)
    assert {f"{span.context.trace_id:032x}" for span in (first, second)} == {trace}
    assert f"{first.parent.span_id:016x}" == span_id
    assert second.parent.span_id == first.context.span_id


@pytest.mark.req("V16")
def test_a_trace_that_was_left_out_elsewhere_is_left_out_here():
    tracer = in_memory()
    came = Message(
        DATA, 1, headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    )
    run(graph("g", source([came], name="numbers") >> half >> END))
    assert [span.name for span in tracer.get_spans() if span.name == "node.on_message"] == []


@pytest.mark.req("V16")
def test_what_is_put_into_an_inlet_belongs_to_the_span_of_whoever_puts_it(otel: Callable[[], Any]):
    inlet = Inlet("in")
    scheduler = Scheduler()
    scheduler.register(graph("g", inlet >> half >> END))

    async def main() -> None:
        running = asyncio.create_task(scheduler.run_async())
        with start_span("request", {"node": "request"}):
            await inlet.put(1)
            await inlet.put(Message(DATA, 2))
        await inlet.put(3)
        await asyncio.to_thread(inlet.try_put, 4)
        inlet.close()
        await running

    asyncio.run(asyncio.wait_for(main(), 60))
    found = trees(otel())
    assert found == [
        ["request", ["half", "end"], ["half", "end"]],
        ["in", ["half", "end"]],
        ["in", ["half", "end"]],
    ]


@pytest.mark.req("V16")
def test_a_span_within_a_handler_lies_between(otel: Callable[[], Any]):
    @node
    async def asks(n: int) -> int:
        with start_span("database", {"node": "database"}):
            await asyncio.sleep(0)
        return n

    run(graph("g", source([1], name="numbers") >> asks >> END))
    assert trees(otel()) == [["numbers", ["asks", "database", "end"]]]


@pytest.mark.req("V16")
def test_a_message_merged_from_two_has_a_link_to_the_other(otel: Callable[[], Any]):
    all_came = asyncio.Event()

    def numbers() -> Iterator[int]:
        yield from [1, 2, 3, 4, 5]
        all_came.set()

    @node
    async def waits(n: int) -> int:
        await all_came.wait()
        return n

    run(
        graph(
            "g",
            source(numbers, name="numbers")
            >> via(capacity=1, policy=coalesce(lambda old, new: old + new))
            >> waits
            >> END,
        )
    )
    produced = {span.context.span_id for span in otel() if span.name == "node.produce"}
    handled = [span for span in otel() if span.attributes["meridian.node"] == "waits"]
    linked = [link.context.span_id for span in handled for link in span.links]
    assert len(produced) == 5
    assert sorted([*linked, *(span.parent.span_id for span in handled)]) == sorted(produced)
    assert len(linked) >= 3


@pytest.mark.req("V16")
def test_a_message_that_was_kept_is_a_link_of_the_handling_that_lets_it_go(otel: Callable[[], Any]):
    class Pairs(Echo):
        kept: Message[Any] | None = None

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            if self.kept is None:
                self.kept = msg
            else:
                self.emit("output", self.kept)

    run(graph("g", source([1, 2], name="numbers") >> Pairs("pairs") >> END))
    spans = otel()
    first, second = (span for span in spans if span.attributes["meridian.node"] == "pairs")
    assert [link.context.trace_id for link in second.links] == [first.context.trace_id]
    (end,) = (span for span in spans if span.attributes["meridian.node"] == "end")
    assert end.parent.span_id == second.context.span_id


@pytest.mark.req("V16", "X2")
def test_a_failure_marks_its_span_and_says_no_text(otel: Callable[[], Any]):
    @node
    def fails(n: int) -> int:
        raise ValueError(f"card 4111 1111 1111 111{n}")

    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name="numbers") >> fails >> END))
    scheduler.run()
    produced, failed = sorted(otel(), key=lambda span: span.start_time)
    assert (produced.status.status_code.name, failed.status.status_code.name) == ("UNSET", "ERROR")
    assert failed.status.description == "ValueError"
    assert [event.name for event in failed.events] == ["exception"]
    assert "4111 1111" not in failed.to_json()


def fails_at_once(n: int) -> int:
    raise ValueError("no such number")


async def fails_later(n: int) -> int:
    await asyncio.sleep(0)
    raise ValueError("no such number")


def fails_midway(n: int) -> Iterator[int]:
    yield n
    raise ValueError("no such number")


class Failing(Echo):
    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        raise ValueError("no such number")


@pytest.mark.req("V16", "V9")
@pytest.mark.parametrize("kind", [fails_at_once, fails_later, fails_midway, Failing])
@pytest.mark.parametrize("otel", [1.0, 0.5], indirect=True)
def test_the_message_about_a_failure_comes_from_the_span_that_failed(otel: Callable[[], Any], kind: Any):
    failing: Any
    if kind is Failing:
        failing = Failing("fails")
        failing.error_policy = ErrorPolicy.EMIT_ERROR
    else:
        failing = node(name="fails", on_error=ErrorPolicy.EMIT_ERROR)(kind)
    got: list[MessageType] = []

    def keep(message: Message[Any]) -> None:
        got.append(message.type)

    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(40), name="numbers") >> failing >> sink(keep, name="end")))
    scheduler.run()
    assert got.count(MessageType.ERROR) == 40
    found = trees(otel())
    ends = ["end", "end"] if kind is fails_midway else ["end"]
    assert found == [["numbers", ["fails", *ends]]] * len(found)
    assert found


async def fails_midway_later(n: int) -> AsyncIterator[int]:
    yield n
    await asyncio.sleep(0)
    raise ValueError("no such number")


def fails_after_emitting(n: int, emit: Emit) -> None:
    emit(n)
    raise ValueError("no such number")


@pytest.mark.req("V16", "V9")
@pytest.mark.parametrize(
    ("kind", "ends", "options"),
    [
        (fails_at_once, 1, {}),
        (fails_later, 1, {}),
        (fails_later, 1, {"concurrency": 2}),
        (fails_midway, 2, {}),
        (fails_midway_later, 2, {}),
        (fails_after_emitting, 2, {}),
        (Failing, 1, {}),
    ],
)
def test_an_item_put_by_hand_that_fails_at_its_first_node_is_one_trace(
    otel: Callable[[], Any], kind: Any, ends: int, options: dict[str, Any]
):
    failing: Any
    if kind is Failing:
        failing = Failing("fails")
        failing.error_policy = ErrorPolicy.EMIT_ERROR
    else:
        failing = node(name="fails", on_error=ErrorPolicy.EMIT_ERROR, **options)(kind)

    def takes_all(message: Message[Any]) -> None:
        pass

    made = graph("g", source(range(0), name="numbers") >> failing >> sink(takes_all, name="end"))
    made.edges[0].put_many(range(5), block())
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert trees(otel()) == [["fails", ["fails", *["end"] * ends]]] * 5  # it begins where it is found


@pytest.mark.req("V16")
@pytest.mark.parametrize("items", [range(2000), list(range(2000))], ids=["typed", "untyped"])
def test_a_share_of_traces_is_kept_and_each_as_a_whole(items: Any):
    tracer = in_memory(sample_rate=0.25)
    run(graph("g", source(items, name="numbers") >> half >> later >> Echo("echo") >> emits >> END))
    by_trace: dict[str, list[str]] = {}
    for span in tracer.get_spans():
        if span.name == "node.on_message":
            by_trace.setdefault(span.trace_id, []).append(str(span.attributes["node"]))
    assert 350 <= len(by_trace) <= 650
    assert all(nodes == ["half", "later", "echo", "emits", "end"] for nodes in by_trace.values())
    assert all(tracing.place_of(trace) < 0.25 * tracing.PLACES for trace in by_trace)


@node
def odd_ones_fail(n: int) -> int:
    if n % 2:
        raise ValueError("odd")
    return n


@node
def none_of_three(n: int) -> int | None:
    return n if n % 3 else None


@node(outputs=["output", "rest"])
def sorts_by_four(n: int) -> Any:
    return To("rest", n) if n % 4 == 0 else n


@pytest.mark.req("V16", "V7")
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_messages_keep_their_order_whichever_of_them_are_traced(share: float):
    in_memory(sample_rate=share)
    got: list[int] = []
    rest: list[int] = []
    made = Subgraph("g")
    made.add_node(source(range(600), name="numbers"))
    functions = [half, odd_ones_fail, emits, none_of_three, sorts_by_four]
    for each in (*functions, sink(got.append, name="got"), sink(rest.append, name="rest")):
        made.add_node(each.node(each.name))
    names = ["numbers", *(each.name for each in functions), "got"]
    for one, following in itertools.pairwise(names):
        made.connect((one, "output"), (following, "input"))
    made.connect(("sorts_by_four", "rest"), ("rest", "input"))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    report = scheduler.report()
    assert report is not None
    assert report.errors_total == 300
    even = [n // 2 for n in range(600) if n // 2 % 2 == 0 and n // 2 % 3]
    assert got == [n for n in even if n % 4]
    assert rest == [n for n in even if n % 4 == 0]


@pytest.mark.req("V16")
def test_envelopes_among_bare_items_keep_their_place_and_their_headers():
    in_memory(sample_rate=0.0)
    got: list[tuple[Any, Any]] = []

    def keep(message: Message[Any]) -> None:
        got.append((message.payload, message.headers.get("mine")))

    @node
    def passes(item: Any) -> Any:
        return item

    items = [1, Message(DATA, 2, headers={"mine": "yes"}), "three", Message(DATA, 4), 5]
    run(graph("g", source(items, name="numbers") >> passes >> sink(keep)))
    assert got == [(1, None), (2, "yes"), ("three", None), (4, None), (5, None)]


@pytest.mark.req("V16")
def test_a_function_runs_as_it_is_for_what_is_left_out_and_within_a_span_for_what_is_kept():
    tracer = in_memory(sample_rate=0.25)
    within: list[bool] = []

    @node
    def looks(n: int) -> int:
        span = tracing.get_span()
        within.append(span is not None and span.name == "node.on_message")
        return n

    run(graph("g", source(range(400), name="numbers") >> looks >> END))
    handled = [span for span in tracer.get_spans() if span.attributes.get("node") == "looks"]
    assert len(within) == 400
    assert 0 < within.count(True) == len(handled) < 200


@pytest.mark.req("V16")
def test_debug_events_tell_of_all_messages_while_a_share_is_traced():
    stream = io.StringIO()
    configure("DEBUG", stream)
    try:
        in_memory(sample_rate=0.25)
        run(graph("g", source(range(100), name="numbers") >> half >> END))
    finally:
        configure("WARN", io.StringIO())
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    handled = [line["node"] for line in told if line["event"] == "node.message_processed"]
    assert sorted(handled) == ["end"] * 100 + ["half"] * 100


@pytest.mark.req("V16")
def test_what_comes_of_a_message_that_is_left_out_is_left_out():
    tracer = in_memory(sample_rate=0.25)
    asked = []

    class Asks(Echo):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            asked.append(msg.get_trace_id())
            with start_span("within"):
                self.emit("output", Message(DATA, msg.payload))

    run(graph("g", source(range(400), name="numbers") >> Asks("asks") >> END))
    spans = tracer.get_spans()
    handled = {
        name: {span.trace_id for span in spans if span.attributes.get("node") == name}
        for name in ("asks", "end")
    }
    assert len(asked) == 400
    assert handled["asks"] == handled["end"]
    assert 0 < len(handled["end"]) < 200


@pytest.mark.req("V16")
def test_to_and_control_keep_their_way_while_traced(otel: Callable[[], Any]):
    @node(outputs=["odd", "even"])
    def sorts(n: int) -> To:
        return To("odd" if n % 2 else "even", n)

    got: dict[str, list[Any]] = {"odd": [], "even": []}
    made = Subgraph("g")
    for each in (
        source([1, 2, Message(MessageType.CONTROL, "c"), 3], name="numbers"),
        sorts.node("sorts"),
        sink(got["odd"].append, name="o").node("o"),
        sink(got["even"].append, name="e").node("e"),
    ):
        made.add_node(each)
    made.connect(("numbers", "output"), ("sorts", "input"))
    made.connect(("sorts", "odd"), ("o", "input"))
    made.connect(("sorts", "even"), ("e", "input"))
    run(made)
    assert got == {"odd": [1, 3], "even": [2]}
    assert [tree for tree in trees(otel()) if tree != "numbers"] == [
        ["numbers", ["sorts", "o"]],
        ["numbers", ["sorts", "e"]],
        ["numbers", ["sorts", "o"]],
    ]


@pytest.mark.req("V16", "X1")
@pytest.mark.parametrize("traced", [False, True])
def test_a_line_from_a_function_names_its_node_and_the_trace_of_its_message(traced: bool):
    stream = io.StringIO()
    configure("INFO", stream)
    if traced:
        in_memory()

    def tells(name: str) -> Any:
        def fn(n: int) -> int:
            get_logger().info("told", "a line from within", n=n)
            return n

        return node(name=name)(fn)

    def numbers() -> Iterator[int]:
        for n in (1, 2):
            get_logger().info("told", "a line from the source", n=n)
            yield n

    try:
        run(graph("g", source(numbers, name="numbers") >> tells("a") >> tells("b") >> twice >> END))
        get_logger().info("after", "nothing is handled any more")
    finally:
        configure("WARN", io.StringIO())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [line for line in lines if line["event"] == "told"]
    assert sorted((line["node"], line["n"]) for line in told) == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("numbers", 1), ("numbers", 2),
    ]  # fmt: skip
    assert "node" not in lines[-1]
    if traced:
        by_n = {
            n: {line["trace_id"] for line in told if line["n"] == n and line["node"] in "ab"} for n in (1, 2)
        }
        assert [len(ids) for ids in by_n.values()] == [1, 1]
        assert by_n[1] != by_n[2]


@pytest.mark.req("V16")
@pytest.mark.parametrize("kind", [half, later, END], ids=lambda kind: kind.name)
def test_a_bare_item_behind_an_envelope_is_none_of_its_family(kind: Any):
    seen: list[tuple[Any, str | None]] = []
    first = Message(DATA, 1, headers={"trace_id": "mine"})

    def look(n: int) -> int:
        seen.append((n, Message(DATA, n).get_parent_id()))
        return n

    if kind is later:

        async def look_later(n: int) -> int:
            return look(n)

        looks: Any = node(name="looks")(look_later)
    else:
        looks = node(name="looks")(look) if kind is half else sink(look, name="looks")
    items = source([first, 2, 3], name="items")
    run(graph("g", items >> looks if kind is END else items >> looks >> END))
    assert [(n, parent is not None) for n, parent in seen] == [(1, True), (2, False), (3, False)]


def test_what_was_put_on_an_edge_by_hand_is_traced_from_there_on_where_all_is(otel: Callable[[], Any]):
    made = graph("g", source([], name="numbers") >> half >> Echo("echo") >> END)
    made.edges[0].try_put(4)
    run(made)
    assert trees(otel()) == [["half", ["half", ["echo", "end"]]]]


def test_the_same_run_without_tracing_has_no_such_header():
    got: list[Message[Any]] = []

    def keep(message: Message[Any]) -> None:
        got.append(message)

    run(graph("g", source([1]) >> half >> sink(keep)))
    assert "traceparent" not in got[0].headers
