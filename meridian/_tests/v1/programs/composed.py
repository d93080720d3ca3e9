"""Programs with graphs of their own classes, generated nodes, and ports that come late."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

from meridian._tests.v1.programs.hello import Consumer, Producer
from meridian.core import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)
from meridian.core.ports import PortDirection as Direction
from meridian.utils.validation import validate_graph


class Counting(Subgraph):
    """A graph as a class, built in its constructor, as v1's generator writes them."""

    def __init__(self):
        super().__init__(name="counting")
        self._setup_nodes()
        self._setup_connections()
        self._setup_exposed_ports()

    def _setup_nodes(self):
        self.producer, self.consumer = Producer(), Consumer()
        self.add_node(self.producer)
        self.add_node(self.consumer, name="sink")

    def _setup_connections(self):
        self.connect(("producer", "output"), ("sink", "input"), capacity=4)

    def _setup_exposed_ports(self):
        self.expose_output("numbers", ("producer", "output"))


def a_subclassed_graph():
    graph = Counting()
    issues = validate_graph(graph)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    return issues, graph.node_names(), graph.producer.count, graph.consumer.received


def a_generated_node():
    """Dict ports and asynchronous hooks, which v1 generated and could not run."""

    class Upper(Node):
        def __init__(self):
            super().__init__("upper")
            self.inputs = {"text": PortSpec(name="text", schema=str)}
            self.outputs = {"result": PortSpec(name="result", schema=str)}
            self.calls = []

        async def on_start(self) -> None:
            self.calls.append("start")

        async def on_message(self, port, msg) -> None:
            self.emit("result", Message(MessageType.DATA, msg.payload.upper()))

        async def on_tick(self) -> None:
            pass

        async def on_stop(self) -> None:
            self.calls.append("stop")

    class Sink(Consumer):
        def __init__(self):
            super().__init__("sink")
            self.inputs = {"input": PortSpec(name="input", schema=str)}

    upper, sink = Upper(), Sink()
    graph = Subgraph.from_nodes("g", [Node.with_ports("source", [], ["out"]), upper, sink])
    graph.connect(("source", "out"), ("upper", "text"))
    graph.connect(("upper", "result"), ("sink", "input"))
    graph.edges[0].try_put(Message(MessageType.DATA, "hello"))
    graph.edges[0].try_put("raw")
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    return sink.received, upper.calls


def ports_assigned_and_appended():
    """Ports that change after construction, and even after connect."""

    class Late(Node):
        def __init__(self):
            super().__init__("late")
            self.outputs = [Port("out", Direction.OUTPUT)]

        def on_start(self):
            for port in ("out", "extra"):
                self.emit(port, Message(MessageType.DATA, port))

    late, sinks = Late(), Subgraph.from_nodes("sinks", [])
    received = []

    class Sink(Node):
        def on_message(self, port, msg):
            received.append((self.name, msg.payload))

    for name in ("a", "b"):
        sinks.add_node(Sink.with_ports(name, ["in"], []))
    sinks.add_node(late)
    sinks.connect(("late", "out"), ("a", "in"))
    late.outputs.append(Port("extra", PortDirection.OUTPUT))
    sinks.connect(("late", "extra"), ("b", "in"))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(sinks)
    scheduler.run()
    return sorted(received)


def a_diamond():
    """One producer, two branches, one input that both lead to; v1 read only one of the two edges."""

    class Tag(Node):
        def _handle_message(self, port, msg):
            self.emit("out", Message(MessageType.DATA, (self.name, msg.payload)))

    class First(Node):
        def on_start(self):
            for n in range(50):
                self.emit("out", Message(MessageType.DATA, n))

    sink = Consumer("sink")
    sink.inputs = [Port("input", PortDirection.INPUT)]
    graph = Subgraph.from_nodes(
        "g",
        [
            First.with_ports("first", [], ["out"]),
            Tag.with_ports("left", ["in"], ["out"]),
            Tag.with_ports("right", ["in"], ["out"]),
            sink,
        ],
    )
    for side in ("left", "right"):
        graph.connect(("first", "out"), (side, "in"), capacity=8)
        graph.connect((side, "out"), ("sink", "input"), capacity=8)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    return {side: [n for name, n in sink.received if name == side] for side in ("left", "right")}


def failures_go_on():
    """A handler and a tick that raise: logged, and the run goes on; stops come in the order of the graph."""
    stops = []

    class Fails(Consumer):
        def _handle_message(self, port, msg):
            if msg.payload % 2:
                raise ValueError("odd")
            super()._handle_message(port, msg)

        def _handle_tick(self):
            raise KeyError("tick")

        def on_stop(self):
            stops.append(self.name)

    class Five(Producer):
        def _handle_tick(self):
            if self.count < 5:
                super()._handle_tick()

        def on_stop(self):
            stops.append(self.name)

    fails = Fails()
    graph = Subgraph.from_nodes("g", [Five(), fails])
    graph.connect(("producer", "output"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=2, shutdown_timeout_s=0.1))
    scheduler.register(graph)
    scheduler.run()
    return fails.received, stops
