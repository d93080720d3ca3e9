"""The harness, line by line of v1's contract, and what is new."""

import asyncio
import gc
import inspect
import time
from typing import Any

import pytest

from meridian import Message, MessageType, Node, Port, PortDirection, PortSpec, To, graph, node, sink, source
from meridian.core.function import Emit
from meridian.nodes import NodeTestHarness
from meridian.testing import DeadlockError, VirtualLoop, simulate
from meridian.testing import NodeTestHarness as FromTesting

pytestmark = pytest.mark.req("V11", "V15")

DATA, CONTROL, ERROR = MessageType


class Echo(Node):
    """Emits what it gets; writes down what was called."""

    def __init__(self):
        super().__init__("echo", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        self.seen = []
        self.called = []

    def on_start(self):
        self.called.append("start")

    def on_stop(self):
        self.called.append("stop")

    def _handle_message(self, port, msg):
        self.seen.append((port, msg))
        self.emit("out", Message(msg.type, msg.payload))

    def _handle_tick(self):
        self.called.append("tick")
        self.emit("out", Message(DATA, "tick"))


class Background(Node):
    """Works in the background, as v1's asynchronous workers do: results come out at later ticks."""

    def __init__(self):
        super().__init__("background", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        self.tasks = []

    async def _handle_message(self, port, msg):
        self.tasks.append(asyncio.create_task(self.work(msg.payload)))

    async def work(self, payload):
        await asyncio.sleep(0.002 * payload)
        self.emit("out", Message(DATA, payload))

    async def _handle_tick(self):
        await asyncio.sleep(0)

    async def on_stop(self):
        await asyncio.gather(*self.tasks)
        return "stopped"


def payloads(harness, port="out"):
    return [message.payload for message in harness.get_emitted_messages(port)]


def test_the_harness_has_one_identity():
    assert FromTesting is NodeTestHarness


@pytest.mark.v1("L11")
def test_node_is_the_node():
    echo = Echo()
    assert NodeTestHarness(echo).node is echo


@pytest.mark.v1("L11")
def test_send_message_calls_on_message_with_data():
    echo = Echo()
    NodeTestHarness(echo).send_message("in", {"a": 1}, metadata={"m": 2}, headers={"h": 3})
    ((port, message),) = echo.seen
    assert (port, message.type, message.payload, message.metadata) == ("in", DATA, {"a": 1}, {"m": 2})
    assert message.headers["h"] == 3
    assert "trace_id" in message.headers


@pytest.mark.v1("L11")
def test_metadata_and_headers_are_by_keyword_only():
    kinds = {
        name: parameter.kind
        for name, parameter in inspect.signature(NodeTestHarness.send_message).parameters.items()
    }
    assert (kinds["metadata"], kinds["headers"]) == (inspect.Parameter.KEYWORD_ONLY,) * 2


@pytest.mark.v1("L11")
def test_send_control_calls_on_message_with_control():
    echo = Echo()
    harness = NodeTestHarness(echo)
    harness.send_control("in")
    harness.send_control("in", "flush")
    assert [(message.type, message.payload) for _, message in echo.seen] == [
        (CONTROL, None),
        (CONTROL, "flush"),
    ]


@pytest.mark.v1("L11")
def test_send_error_calls_on_message_with_error():
    echo = Echo()
    NodeTestHarness(echo).send_error("in", {"error": "x"})
    assert [(message.type, message.payload) for _, message in echo.seen] == [(ERROR, {"error": "x"})]


@pytest.mark.v1("L11")
def test_messages_go_through_on_message_where_that_is_overridden():
    class Direct(Node):
        def on_message(self, port, msg):
            self.got = (port, msg.payload)

    direct = Direct("direct")
    NodeTestHarness(direct).send_message("in", 5)
    assert direct.got == ("in", 5)


@pytest.mark.v1("L11")
def test_emitted_messages_are_cumulative_and_in_order_per_port():
    harness = NodeTestHarness(Echo())
    harness.send_message("in", 1)
    assert payloads(harness) == [1]
    harness.send_message("in", 2)
    harness.trigger_tick()
    assert payloads(harness) == [1, 2, "tick"]
    assert harness.get_emitted_messages("other") == []


def test_the_list_of_emitted_messages_is_the_callers_own():
    harness = NodeTestHarness(Echo())
    harness.send_message("in", 1)
    harness.get_emitted_messages("out").clear()
    assert payloads(harness) == [1]


@pytest.mark.v1("L11")
def test_trigger_tick_calls_on_tick_and_gives_background_work_a_millisecond():
    echo = Echo()
    harness = NodeTestHarness(echo)
    began = time.perf_counter()
    for _ in range(3):
        harness.trigger_tick()
    assert time.perf_counter() - began >= 0.003
    assert echo.called == ["tick"] * 3


@pytest.mark.v1("L11")
def test_there_are_no_life_cycle_calls():
    echo = Echo()
    harness = NodeTestHarness(echo)
    harness.send_message("in", 1)
    del harness
    assert echo.called == []


@pytest.mark.v1("L11")
def test_there_is_no_backpressure():
    harness = NodeTestHarness(Echo())
    for x in range(5000):
        harness.send_message("in", x)
    assert payloads(harness) == list(range(5000))


@pytest.mark.v1("L11")
def test_what_the_node_raises_reaches_the_caller():
    class Bad(Node):
        def _handle_message(self, port, msg):
            raise KeyError("mine")

        def _handle_tick(self):
            raise OSError("mine too")

    harness = NodeTestHarness(Bad("bad"))
    with pytest.raises(KeyError, match="mine"):
        harness.send_message("in", 1)
    with pytest.raises(OSError, match="mine too"):
        harness.trigger_tick()


@pytest.mark.v1("L11")
def test_background_work_is_driven_by_plain_calls_and_comes_out_in_order():
    background = Background()
    harness = NodeTestHarness(background)
    background.on_start()
    for x in range(6):
        harness.send_message("in", x)
    for _ in range(20):
        harness.trigger_tick()
    assert payloads(harness) == [0, 1, 2, 3, 4, 5]
    assert harness.run(background.on_stop()) == "stopped"


def test_an_emit_on_a_port_that_is_not_there_is_refused_and_not_kept():
    class Wrong(Node):
        def _handle_message(self, port, msg):
            self.emit("nowhere", msg)

    harness = NodeTestHarness(Wrong("wrong"))
    with pytest.raises(KeyError, match="no output 'nowhere'"):
        harness.send_message("in", 1)
    assert harness.get_emitted_messages("nowhere") == []


def test_an_asynchronous_handler_that_sleeps_for_an_hour_returns_at_once():
    class Slow(Echo):
        async def _handle_message(self, port, msg):
            await asyncio.sleep(3600)
            await self.send("out", Message(DATA, asyncio.get_running_loop().time()))

    harness = NodeTestHarness(Slow())
    harness.send_message("in", 1)
    harness.send_message("in", 2)
    assert payloads(harness) == [3600, 7200]


def test_an_asynchronous_handler_that_waits_for_nothing_is_a_deadlock():
    @node
    async def stuck(x: int) -> int:
        await asyncio.Event().wait()
        return x

    with pytest.raises(DeadlockError, match=r"\.stuck$"):
        NodeTestHarness(stuck).send_message("input", 1)


def test_what_is_emitted_inherits_the_trace_of_the_message_in_hand():
    class Async(Echo):
        async def _handle_message(self, port, msg):
            await asyncio.sleep(0)
            self.emit("out", Message(DATA, "child"))

    for each in (Echo(), Async()):
        harness = NodeTestHarness(each)
        harness.send_message("in", 1, headers={"trace_id": "t-1"})
        (message,) = harness.get_emitted_messages("out")
        assert message.get_trace_id() == "t-1"
        assert message.get_parent_id() is not None


def test_within_a_running_loop_messages_are_awaited():
    @node
    async def double(x: int) -> int:
        await asyncio.sleep(1)
        return 2 * x

    harness = NodeTestHarness(double)
    ticking = NodeTestHarness(Background())

    async def main():
        await harness.send_async("input", 4, headers={"trace_id": "t-2"})
        await harness.send_async("input", None, type=CONTROL)
        with pytest.raises(RuntimeError, match="send_async"):
            harness.send_message("input", 5)
        await ticking.send_async("in", 0)
        await ticking.trigger_tick_async()
        plain = NodeTestHarness(Echo())
        await plain.send_async("in", 1)
        plain.send_message("in", 2)
        plain.trigger_tick()
        return payloads(plain)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == [1, 2, "tick"]
    data, control = harness.get_emitted_messages("output")
    assert (data.payload, data.get_trace_id(), control.type) == (8, "t-2", CONTROL)
    assert payloads(ticking) == [0]


@node
def double(x: int) -> int:
    return 2 * x


@node
def spread(x: int):
    yield from range(x)


@node(outputs=["even", "odd"])
def split(x: int):
    return To("odd" if x % 2 else "even", x)


@node
def emitting(x: int, emit: Emit[int]) -> None:
    emit(x)
    emit(-x)


@node
async def stream(x: int):
    for y in range(x):
        await asyncio.sleep(1)
        yield y


@pytest.mark.parametrize(
    ("function", "out"),
    [(double, [6]), (spread, [0, 1, 2]), (emitting, [3, -3]), (stream, [0, 1, 2])],
)
def test_function_nodes_work_too(function, out):
    harness = NodeTestHarness(function)
    harness.send_message("input", 3)
    assert payloads(harness, "output") == out


def test_a_function_with_named_outputs_emits_on_them():
    harness = NodeTestHarness(split)
    for x in range(5):
        harness.send_message("input", x)
    assert (payloads(harness, "even"), payloads(harness, "odd")) == ([0, 2, 4], [1, 3])


def test_a_function_forwards_control():
    harness = NodeTestHarness(double)
    harness.send_control("input", "flush")
    assert [(m.type, m.payload) for m in harness.get_emitted_messages("output")] == [(CONTROL, "flush")]


def test_a_node_that_was_tested_alone_still_runs_in_a_graph():
    class Relay(Echo):
        def __init__(self):
            super().__init__()
            self.inputs = [Port("in", PortDirection.INPUT, spec=PortSpec("in", int))]

    relay = Relay()
    out: list[Any] = []
    harness = NodeTestHarness(relay)
    harness.send_message("in", -1)
    simulate(graph("g", source(range(3)) >> relay["in"], relay["out"] >> sink(out.append, name="out")))
    assert [x for x in out if x != "tick"] == [0, 1, 2]
    assert payloads(harness)[:1] == [-1]


def test_something_that_is_no_node_is_refused():
    with pytest.raises(TypeError, match="takes a node or a @node function, got int"):
        NodeTestHarness(5)  # type: ignore[arg-type]  # that is the point


def test_a_harness_that_goes_away_closes_its_loop_and_ends_what_runs_in_it():
    ended: list[Any] = []

    class Leaky(Echo):
        async def _handle_message(self, port, msg):
            self.task = asyncio.create_task(self.work())

        async def work(self):
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(True)

    harness = NodeTestHarness(Leaky())
    harness.send_message("in", 1)
    harness.trigger_tick()
    loop = harness._loop
    del harness
    gc.collect()
    assert loop.is_closed()
    assert ended == [True]


def test_the_repr_names_the_node():
    assert repr(NodeTestHarness(Echo())) == "<NodeTestHarness of <Echo 'echo'>>"
