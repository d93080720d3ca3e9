"""Section 6 of the v1 contract: the node, by itself and attached to a run."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import asyncio
import dataclasses
import functools
from types import SimpleNamespace

import pytest

from meridian import Message, MessageType, Node, Port, PortSpec, Subgraph
from meridian._tests.core.parts import (
    DATA,
    IN,
    OUT,
    Burst,
    Collect,
    Relay,
    TickBurst,
    chain,
    data,
    in_thread,
    inputs,
    join,
    outputs,
    run,
    scheduler,
)
from meridian.core.errors import BackpressureError
from meridian.observability.config import configure_observability, get_development_config
from meridian.observability.logging import get_logger
from meridian.observability.metrics import PrometheusMetrics, configure_metrics
from meridian.observability.tracing import get_trace_id, get_tracer

pytestmark = [pytest.mark.req("V1"), pytest.mark.usefixtures("engine")]


@pytest.mark.v1("L21")
def test_a_node_is_usable_without_subclassing():
    made = Node("test")
    assert (made.name, made.inputs, made.outputs) == ("test", [], [])
    assert Node("x").inputs is not Node("y").inputs
    assert made.on_start() is None
    assert made.on_message("in", data(1)) is None
    assert made.on_tick() is None
    assert made.on_stop() is None


@pytest.mark.v1("L21")
def test_with_ports_gives_every_port_a_spec_without_schema():
    made = Node.with_ports("n", ["a", "b"], ["c"])
    assert made.inputs == [Port("a", IN, None, PortSpec("a")), Port("b", IN, None, PortSpec("b"))]
    assert made.outputs == [Port("c", OUT, None, PortSpec("c"))]


def test_with_ports_calls_the_class_by_keyword():
    class Mine(Node):
        def __init__(self, *, name, inputs, outputs):
            super().__init__(name, inputs, outputs)
            self.mine = True

    made = Mine.with_ports("n", iter(["a"]), ())
    assert type(made) is Mine
    assert made.mine is True


def test_port_map_lists_inputs_then_outputs_by_name():
    made = Node.with_ports("n", ["a", "b"], ["c"])
    assert list(made.port_map()) == ["a", "b", "c"]
    assert made.port_map()["c"].is_output()


def test_a_subclass_passes_ports_by_position_or_keyword_or_not_at_all_and_sets_attributes():
    class Positional(Node):
        def __init__(self):
            super().__init__("p", inputs("in"), outputs("out"))
            self.extra = 1

    class Keyword(Node):
        def __init__(self):
            self.before = 1
            super().__init__(name="k", inputs=inputs("in"), outputs=outputs("out"))

    class Bare(Node):
        def __init__(self):
            super().__init__("b")

    assert [len(node.inputs) + len(node.outputs) for node in (Positional(), Keyword(), Bare())] == [2, 2, 0]
    assert (Positional().extra, Keyword().before) == (1, 1)


def test_a_dataclass_may_derive_from_it():
    @dataclasses.dataclass
    class Counter(Node):
        total: int = 0

        def _handle_message(self, port, msg):
            self.total += msg.payload

    made = Counter("c", inputs("in"))
    run(chain(Burst("b", [1, 2, 3]), made))
    assert made.total == 6
    assert [field.name for field in dataclasses.fields(Counter)] == ["name", "inputs", "outputs", "total"]
    assert dataclasses.replace(made, total=1).total == 1


@pytest.mark.v1("D35")
def test_equality_and_hash_are_by_identity():
    one, other = Node("n"), Node("n")
    assert one != other
    assert len({one, other, one}) == 2


# ---- ports that change ----------------------------------------------------------------------------------------


@pytest.mark.v1("L7")
def test_ports_may_be_assigned_after_init():
    class Late(Node):
        def __init__(self):
            super().__init__("late")
            self.inputs = inputs("in")
            self.outputs = outputs("out")

        def _handle_message(self, port, msg):
            self.emit("out", msg)

    out = Collect("c")
    run(chain(Burst("b", [1]), Late(), out))
    assert out.got == [1]


@pytest.mark.v1("L7")
def test_ports_may_be_appended_after_connect():
    source, out = Node("s", outputs=outputs("out")), Collect("c")
    graph = chain(source, out)
    source.outputs.append(Port("more", OUT))
    out.inputs.append(Port("more", IN))
    graph.connect(("s", "more"), ("c", "more"))
    source.on_start = lambda: source.emit("more", data(1))
    run(graph)
    assert out.ports == ["more"]


@pytest.mark.v1("L7", "D28")
def test_an_output_that_appears_during_the_run_leads_nowhere_yet():
    class Grows(Node):
        def on_start(self):
            self.outputs.append(Port("late", OUT))
            self.emit("late", data(1))

    made = run(Grows("g"))
    assert made.report().errors_total == 0
    assert made.report().nodes[0].unrouted == 1


@pytest.mark.v1("L7", "D49")
def test_ports_may_be_dicts_of_specs():
    class Generated(Node):
        def __init__(self):
            super().__init__("generated")
            self.inputs = {"in": PortSpec(name="in", schema=int)}
            self.outputs = {"out": PortSpec(name="out", schema=int)}

        def _handle_message(self, port, msg):
            self.emit("out", Message(DATA, msg.payload + 1))

    made, out = Generated(), Collect("c")
    assert list(made.port_map()) == ["in", "out"]
    assert made.port_map()["in"] == Port("in", IN, None, PortSpec("in", int))
    graph = chain(Burst("b", [1]), made, out)
    assert graph.validate() == []
    run(graph)
    assert out.got == [2]
    assert made.emit("out", data(1)).payload == 1
    with pytest.raises(KeyError):
        made.emit("other", data(1))


@pytest.mark.v1("L7", "D49")
def test_ports_may_be_methods_that_return_dicts():
    class Duck(Node):
        def __init__(self):
            self.name = "duck"

        def inputs(self):
            return {"in": PortSpec("in", int)}

        def outputs(self):
            return {"out": PortSpec("out", int)}

        def _handle_message(self, port, msg):
            self.emit("out", msg)

    out = Collect("c")
    graph = chain(Burst("b", [1]), Duck(), out)
    assert graph.validate() == []
    run(graph)
    assert out.got == [1]


@pytest.mark.v1("L7")
def test_a_port_is_anything_with_a_name():
    source, out = Node("s"), Collect("c")
    source.outputs = (SimpleNamespace(name="out"),)
    out.inputs = (SimpleNamespace(name="in"),)
    graph = chain(source, out)
    assert graph.validate() == []
    source.on_start = lambda: source.emit("out", data(1))
    run(graph)
    assert out.got == [1]


# ---- hooks by hand --------------------------------------------------------------------------------------------


def test_on_message_calls_handle_message_and_counts_it_and_on_failure_raises_and_counts_that(records):
    metrics = PrometheusMetrics()
    configure_metrics(metrics)

    class Half(Node):
        def _handle_message(self, port, msg):
            if msg.payload == "bad":
                raise ValueError("secret-payload")

    made = Half("h")
    made.on_message("in", data("good"))
    with pytest.raises(ValueError):
        made.on_message("in", data("bad"))
    counters = metrics.get_all_counters()
    assert counters["meridian-runtime_node_messages_total{node=h}"].value == 1
    assert counters["meridian-runtime_node_errors_total{node=h}"].value == 1
    (error,) = records()
    assert (error["event"], error["level"], error["node"], error["error_type"]) == (
        "node.message_error", "ERROR", "h", "ValueError",
    )  # fmt: skip
    assert "error_msg" in error
    assert "secret" not in str(error)


def test_on_tick_is_timed_also_when_it_fails(records):
    metrics = PrometheusMetrics()
    configure_metrics(metrics)

    class Fails(Node):
        def _handle_tick(self):
            raise ValueError

    Node("good").on_tick()
    with pytest.raises(ValueError):
        Fails("bad").on_tick()
    histograms = metrics.get_all_histograms()
    assert histograms["meridian-runtime_node_tick_duration_seconds{node=good}"].count == 1
    assert histograms["meridian-runtime_node_tick_duration_seconds{node=bad}"].count == 1
    assert [each["event"] for each in records()] == ["node.tick_error"]


@pytest.mark.v1("D40")
def test_on_message_sets_the_trace_for_its_time_only():
    seen = []

    class Looks(Node):
        def _handle_message(self, port, msg):
            seen.append(get_trace_id())
            seen.append(Message(DATA, 1).get_trace_id())

    Looks("l").on_message("in", data(1, trace_id="t"))
    assert seen == ["t", "t"]
    assert get_trace_id() is None


def test_spans_carry_node_port_and_trace():
    configure_observability(get_development_config())
    made = Node("n")
    made.on_message("in", data(1, trace_id="t"))
    made.on_tick()
    message, tick = get_tracer().get_spans()
    assert (message.name, message.attributes) == (
        "node.on_message",
        {"node": "n", "port": "in", "trace_id": "t"},
    )
    assert message.trace_id == "t"
    assert (tick.name, tick.attributes) == ("node.on_tick", {"node": "n"})


def test_start_and_stop_are_logged_at_info_and_handled_messages_at_debug(debug, records):
    made = Node("n", outputs=outputs("out"))
    made.on_start()
    made.on_message("in", data(1, trace_id="t"))
    made.on_tick()
    made.emit("out", data(1, trace_id="t"))
    made.on_stop()
    assert [(each["event"], each["level"], each["node"]) for each in records()] == [
        ("node.start", "INFO", "n"),
        ("node.message_processed", "DEBUG", "n"),
        ("node.tick_processed", "DEBUG", "n"),
        ("node.emit", "DEBUG", "n"),
        ("node.stop", "INFO", "n"),
    ]
    assert records()[1]["duration"] >= 0
    assert (records()[3]["port"], records()[3]["trace_id"], records()[3]["message_type"]) == (
        "out",
        "t",
        "DATA",
    )


@pytest.mark.v1("L22")
def test_its_private_counters_may_be_set_to_none():
    made = Node("n")
    made._messages_total = None
    made._errors_total = None
    made.on_message("in", data(1))

    class Fails(Node):
        def _handle_message(self, port, msg):
            raise ValueError

    fails = Fails("f")
    fails._errors_total = None
    with pytest.raises(ValueError):
        fails.on_message("in", data(1))


# ---- emit -----------------------------------------------------------------------------------------------------


@pytest.mark.v1("L6")
def test_emit_without_a_run_returns_the_very_same_message():
    sent = data(1)
    assert Node("n", outputs=outputs("out")).emit("out", sent) is sent


@pytest.mark.v1("D28")
def test_emit_outside_a_run_delivers_nothing_before_and_after_one():
    source, out = Node("s", outputs=outputs("out")), Collect("c")
    graph = chain(source, out)
    source.emit("out", data(1))
    run(graph)
    source.emit("out", data(2))
    assert graph.edges[0].depth() == 0
    assert out.got == []


@pytest.mark.v1("D28")
def test_emit_on_an_unconnected_output_is_counted_as_unrouted():
    made = run(Burst("b", [1, 2, 3]))
    assert made.report().nodes[0].unrouted == 3


@pytest.mark.parametrize("attached", [False, True])
def test_a_type_that_is_none_of_the_three_is_a_value_error_before_the_port_is_looked_at(attached):
    caught = []

    def attempt(node):
        for wrong in (SimpleNamespace(type="OTHER", payload=1), SimpleNamespace(type=None)):
            try:
                node.emit("nowhere", wrong)
            except Exception as error:
                caught.append(type(error))

    made = Node("n", outputs=outputs("out"))
    if attached:
        made.on_start = lambda: attempt(made)
        run(made)
    else:
        attempt(made)
    assert caught == [ValueError, ValueError]


@pytest.mark.parametrize("attached", [False, True])
def test_what_is_no_message_at_all_is_a_type_error(attached):
    caught = []

    def attempt(node):
        for wrong in (5, None, "text", {"type": "DATA"}):
            try:
                node.emit("out", wrong)
            except Exception as error:
                caught.append(type(error))

    made = Node("n", outputs=outputs("out"))
    if attached:
        made.on_start = lambda: attempt(made)
        run(made)
    else:
        attempt(made)
    assert caught == [TypeError] * 4


@pytest.mark.parametrize("attached", [False, True])
def test_an_unknown_output_is_a_key_error_that_names_the_real_ones(attached):
    caught = []

    def attempt(node):
        for port in ("nowhere", "in"):
            with pytest.raises(KeyError) as error:
                node.emit(port, data(1))
            caught.append(str(error.value))

    made = Node("n", inputs("in"), outputs("out", "err"))
    if attached:
        made.on_start = lambda: attempt(made)
        run(made)
    else:
        attempt(made)
    assert len(caught) == 2
    assert all("out" in text and "err" in text for text in caught)


def test_a_type_given_by_name_is_emitted_like_any_other():
    out = Collect("c")
    run(chain(Burst("b", [Message("DATA", 1), Message("ERROR", 2)]), out))
    assert [m.type for m in out.messages] == [MessageType.DATA, MessageType.ERROR]


def test_emit_in_a_run_returns_the_message():
    returned = []
    sent = data(1)

    class Emits(Node):
        def on_start(self):
            returned.append(self.emit("out", sent))

    out = Collect("c")
    run(chain(Emits("e", outputs=outputs("out")), out))
    assert returned[0] is sent
    assert out.messages[0] is sent


def test_a_misfit_raises_in_the_handler_and_reaches_no_edge(records):
    caught = []

    class Emits(Node):
        def on_start(self):
            try:
                self.emit("out", data("secret-payload"))
            except TypeError as error:
                caught.append(str(error))

    typed, untyped = Collect("typed", schema=int), Collect("untyped")
    graph = Subgraph.from_nodes("g", [Emits("e", outputs=outputs("out")), typed, untyped])
    graph.connect(("e", "out"), ("untyped", "in"))
    graph.connect(("e", "out"), ("typed", "in"))
    run(graph)
    assert len(caught) == 1
    assert "e:out->typed:in" in caught[0]
    assert (typed.got, untyped.got) == ([], [])
    assert "edge.validation_failed" in [each["event"] for each in records()]
    assert "secret" not in caught[0] + str(records())


@pytest.mark.v1("D28")
def test_emit_from_another_thread_is_delivered():
    source, out = Node("s", outputs=outputs("out")), Collect("c")
    made = scheduler(chain(source, out), shutdown_timeout_s=5.0)
    out.stop, out.until = made.shutdown, 5

    def start():
        def emit():
            for n in range(5):
                source.emit("out", data(n))

        threads.append(in_thread(emit))

    threads = []
    source.on_start = start
    made.run()
    join(threads[0])
    assert out.got == [0, 1, 2, 3, 4]


def test_a_node_that_replaces_its_own_emit_keeps_it_after_a_run():
    made = Node("n", outputs=outputs("out"))
    seen = []
    made.emit = lambda port, msg: seen.append(msg.payload)
    made.on_start = lambda: made.emit("out", data(1))
    run(made)
    made.emit("out", data(2))
    assert seen == [1, 2]


def test_a_class_that_overrides_emit_is_asked():
    class Loud(Relay):
        def emit(self, port, msg):
            return super().emit(port, Message(DATA, f"{msg.payload}!"))

    out = Collect("c")
    run(chain(Burst("b", ["a"]), Loud("l"), out))
    assert out.got == ["a!"]


# ---- backpressure ---------------------------------------------------------------------------------------------


@pytest.mark.req("V4")
@pytest.mark.v1("L2", "D1")
def test_emit_until_runtime_error_ends_and_what_was_accepted_arrives():
    accepted = []

    class Greedy(Node):
        error = None

        def _handle_tick(self):
            if self.error is not None:
                return
            while True:
                try:
                    self.emit("out", data(len(accepted)))
                except RuntimeError as error:
                    self.error = error
                    return
                accepted.append(len(accepted))

    greedy, out = Greedy("g", outputs=outputs("out")), Collect("c")
    run(chain(greedy, out, capacity=4))
    assert "Backpressure" in str(greedy.error)
    assert str(greedy.error) == "Backpressure: Edge g:out->c:in is full (capacity: 4)"
    assert len(accepted) == 4 + 1024
    assert out.got == accepted


@pytest.mark.req("V4")
@pytest.mark.v1("L2")
def test_a_refused_message_can_be_emitted_again_later_and_arrives_once():
    class Retries(Node):
        max_parked = 0

        def __init__(self):
            super().__init__("r", outputs=outputs("out"))
            self.todo = list(range(20))
            self.refused = []

        def _handle_tick(self):
            while self.todo:
                try:
                    self.emit("out", data(self.todo[0]))
                except RuntimeError as error:
                    self.refused.append(str(error))
                    return
                del self.todo[0]

    retries, out = Retries(), Collect("c")
    run(chain(retries, out, capacity=3), shutdown_timeout_s=0.2)
    assert out.got == list(range(20))
    assert set(retries.refused) == {"Backpressure: Edge r:out->c:in is full (capacity: 3)"}


@pytest.mark.req("V4", "V9")
@pytest.mark.v1("D1", "D8")
@pytest.mark.parametrize("hook", ["on_start", "_handle_tick"])
def test_a_refusal_that_escapes_the_hook_is_no_error_and_its_message_arrives_first(hook):
    class Careless(Node):
        max_parked = 2

        def __init__(self):
            super().__init__("x", outputs=outputs("out"))
            self.n = 0

    def burst(self):
        for _ in range(8):
            if self.n >= 40:
                return
            self.n += 1
            self.emit("out", data(self.n))

    setattr(Careless, hook, burst)
    careless, out = Careless(), Collect("c")
    made = run(chain(careless, out, capacity=4))
    report = made.report()
    assert report.errors_total == 0
    assert report.nodes[0].state == "stopped"
    assert out.got == list(range(1, careless.n + 1))
    assert careless.n == (7 if hook == "on_start" else 40)


@pytest.mark.req("V4")
@pytest.mark.v1("D3")
def test_an_emit_reaches_all_edges_of_a_port_or_none():
    refused = []

    class Emits(Node):
        max_parked = 0

        def on_start(self):
            for n in range(5):
                try:
                    self.emit("out", data(n))
                except BackpressureError as error:
                    refused.append((error.node, error.port, error.edge, error.message.payload))

    small, large = Collect("small"), Collect("large")
    graph = Subgraph.from_nodes("g", [Emits("e", outputs=outputs("out")), small, large])
    graph.connect(("e", "out"), ("large", "in"), 100)
    graph.connect(("e", "out"), ("small", "in"), 2)
    run(graph)
    assert small.got == large.got == [0, 1]
    assert refused == [("e", "out", "e:out->small:in", n) for n in (2, 3, 4)]


@pytest.mark.req("V4")
@pytest.mark.v1("D1")
def test_a_hundred_results_of_one_message_pass_an_edge_of_three():
    class FlatMap(Node):
        def _handle_message(self, port, msg):
            for n in range(100):
                self.emit("out", data(n))

    out = Collect("c")
    run(chain(Burst("b", [1, 2]), FlatMap("f", inputs("in"), outputs("out")), out, capacity=3))
    assert out.got == [*range(100), *range(100)]


@pytest.mark.req("V4")
def test_a_send_awaits_room_and_loses_nothing():
    class Sends(Node):
        async def on_message(self, port, msg):
            for n in range(10):
                assert (await self.send("out", data((msg.payload, n)))).payload == (msg.payload, n)

    out = Collect("c")
    run(chain(Burst("b", [1, 2]), Sends("s", inputs("in"), outputs("out")), out, capacity=2))
    assert out.got == [(m, n) for m in (1, 2) for n in range(10)]


def test_a_send_without_a_run_is_an_emit():
    sent = data(1)
    assert asyncio.run(Node("n", outputs=outputs("out")).send("out", sent)) is sent


# ---- which hooks are called -----------------------------------------------------------------------------------


@pytest.mark.v1("L9")
def test_public_hooks_may_be_overridden_without_super():
    calls = []

    class Mine(Node):
        def on_start(self):
            calls.append("start")

        def on_message(self, port, msg):
            calls.append((port, msg.payload))

        def on_tick(self):
            if "tick" not in calls:
                calls.append("tick")

        def on_stop(self):
            calls.append("stop")

    run(chain(Burst("b", [1]), Mine("m", inputs("in"))))
    assert calls == ["start", ("in", 1), "tick", "stop"]


@pytest.mark.v1("L9")
def test_hooks_assigned_to_one_node_are_called():
    calls = []
    made = Node("n", inputs("in"))
    made.on_start = lambda: calls.append("start")
    made.on_message = lambda port, msg: calls.append(msg.payload)
    made.on_tick = lambda: calls.append("tick") if "tick" not in calls else None
    made.on_stop = lambda: calls.append("stop")
    run(chain(Burst("b", [1]), made))
    assert calls == ["start", 1, "tick", "stop"]


@pytest.mark.v1("L9")
def test_protected_hooks_assigned_to_one_node_are_called():
    calls = []
    made = Node("n", inputs("in"))
    made._handle_message = lambda port, msg: calls.append(msg.payload)
    made._handle_tick = lambda: calls.append("tick") if "tick" not in calls else None
    run(chain(Burst("b", [1]), made))
    assert calls == [1, "tick"]


@pytest.mark.v1("L9")
def test_an_override_may_call_super():
    calls = []

    class Both(Node):
        def on_message(self, port, msg):
            calls.append("before")
            super().on_message(port, msg)

        def _handle_message(self, port, msg):
            calls.append(msg.payload)

        def on_tick(self):
            super().on_tick()

        def _handle_tick(self):
            if "tick" not in calls:
                calls.append("tick")

    run(chain(Burst("b", [1]), Both("m", inputs("in"))))
    assert calls == ["before", 1, "tick"]


def _besides_the_tick(calls):
    """Return what happened but the one tick: its moment is the clock's, so it may come between two messages."""
    assert calls.count("tick") == 1
    return [each for each in calls if each != "tick"]


async def _later(calls, what):
    await asyncio.sleep(0)
    calls.append(what)


@pytest.mark.req("V2")
@pytest.mark.v1("D26")
def test_all_hooks_may_be_asynchronous():
    calls = []

    class Mine(Node):
        async def on_start(self):
            await _later(calls, "start")

        async def on_message(self, port, msg):
            await _later(calls, msg.payload)

        async def on_tick(self):
            if "tick" not in calls:
                await _later(calls, "tick")

        async def on_stop(self):
            await _later(calls, "stop")

    run(chain(Burst("b", [1, 2]), Mine("m", inputs("in"))))
    assert _besides_the_tick(calls) == ["start", 1, 2, "stop"]


@pytest.mark.req("V2")
@pytest.mark.v1("D26")
def test_protected_hooks_may_be_asynchronous():
    calls = []

    class Mine(Node):
        async def _handle_message(self, port, msg):
            await _later(calls, msg.payload)

        async def _handle_tick(self):
            if "tick" not in calls:
                await _later(calls, "tick")

    run(chain(Burst("b", [1, 2]), Mine("m", inputs("in"))))
    assert _besides_the_tick(calls) == [1, 2]


@pytest.mark.req("V2")
@pytest.mark.v1("D26", "L9")
@pytest.mark.parametrize("style", ["returns super", "ignores super", "partial", "lambda", "callable object"])
def test_a_plain_hook_around_an_asynchronous_one_is_awaited(style):
    calls = []

    class Mine(Node):
        async def _handle_message(self, port, msg):
            await _later(calls, msg.payload)

        async def _handle_tick(self):
            if "tick" not in calls:
                await _later(calls, "tick")

    async def handle(how, port, msg):
        await _later(calls, msg.payload)

    class Callable:
        async def __call__(self, port, msg):
            await _later(calls, msg.payload)

    class Super(Mine):
        def on_message(self, port, msg):
            return super().on_message(port, msg)

        def on_tick(self):
            return super().on_tick()

    class Plain(Mine):
        def on_message(self, port, msg):
            calls.append(msg.payload)

    made = {"returns super": Super, "ignores super": Plain}.get(style, Mine)("m", inputs("in"))
    if style == "partial":
        made.on_message = functools.partial(handle, "how")
    elif style == "lambda":
        made.on_message = lambda port, msg: handle("how", port, msg)
    elif style == "callable object":
        made.on_message = Callable()
    report = run(chain(Burst("b", [1, 2]), made)).report()
    assert _besides_the_tick(calls) == [1, 2]
    assert report.errors_total == 0


def test_the_tick_of_a_node_that_defines_none_costs_nothing():
    made = run(Node("idle"), Collect("sink"))
    assert made.report().nodes[0].busy_s == 0


def test_messages_wait_until_all_nodes_have_started():
    calls = []

    class Says(Collect):
        def on_start(self):
            calls.append(f"start {self.name}")

        def _handle_message(self, port, msg):
            calls.append(f"message {self.name}")

    class First(TickBurst):
        def on_start(self):
            self.emit("out", data(0))
            calls.append("start first")

    run(chain(First("f", []), Says("c")), Says("d"))
    assert calls == ["start first", "start c", "start d", "message c"]


def test_its_repr_names_class_and_name():
    assert repr(Relay("r")) == "<Relay 'r'>"


def test_what_is_logged_while_a_message_is_handled_carries_node_port_and_trace(records):
    class Logs(Node):
        def _handle_message(self, port, msg):
            get_logger().info("mine", "handled")

    node = Logs.with_ports("logs", ["in"], [])
    node.on_message("in", data(1, trace_id="abc"))
    run(chain(Burst("b", [data(2, trace_id="def")]), node))
    mine = [record for record in records() if record["event"] == "mine"]
    assert [(record["node"], record["port"], record["trace_id"]) for record in mine] == [
        ("logs", "in", "abc"),
        ("logs", "in", "def"),
    ]


def test_a_refusal_names_the_edge_and_its_capacity():
    class Refused(Node):
        max_parked = 1
        text = ""

        def on_start(self):
            for n in range(4):
                try:
                    self.emit("out", data(n))
                except RuntimeError as error:
                    self.text = str(error)
                    return

    made = Refused.with_ports("r", [], ["out"])
    run(chain(made, Collect("c"), capacity=2))
    assert made.text == "Backpressure: Edge r:out->c:in is full (capacity: 2)"
