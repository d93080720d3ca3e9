"""Programs that put on edges by hand: benchmarks, hooks of other nodes, threads."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

import threading

from meridian._tests.v1.programs.hello import Consumer, Producer
from meridian.core import (
    Edge,
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
from meridian.core.policies import block, drop
from meridian.core.runtime_plan import PriorityBand


def a_benchmark_fills_an_edge_and_runs():
    consumer = Consumer()
    graph = Subgraph.from_nodes("bench", [Node.with_ports("source", [], ["out"]), consumer])
    graph.connect(("source", "out"), ("consumer", "input"), capacity=100)
    edge = graph.edges[-1]
    results = [edge.try_put(Message(MessageType.DATA, n)).name for n in range(100)]
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, idle_sleep_ms=0, shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    return results, consumer.received, edge.depth()


def an_edge_without_a_scheduler():
    """Put, look, get; without a policy the oldest makes room."""
    edge = Edge(
        "a", Port("o", PortDirection.OUTPUT), "b", Port("i", PortDirection.INPUT), 2, PortSpec("i", int)
    )
    results = [edge.try_put(n).name for n in range(4)]
    looked = edge.depth(), edge.is_full(), edge.is_empty()
    return results, looked, [edge.try_get() for _ in range(3)]


def threads_feed_a_running_graph():
    """Two threads put 200 messages each while the graph runs in a third; the main thread stops it when all are in."""
    all_in = threading.Event()

    class Counts(Consumer):
        def _handle_message(self, port, msg):
            super()._handle_message(port, msg)
            if len(self.received) == 400:
                all_in.set()

    consumer = Counts()
    graph = Subgraph.from_nodes("g", [Producer(), consumer])
    graph.nodes["producer"]._handle_tick = lambda: None  # it ticks and says nothing
    graph.connect(("producer", "output"), ("consumer", "input"), capacity=16)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=5, shutdown_timeout_s=10))
    scheduler.register(graph)
    runs = threading.Thread(target=scheduler.run)
    runs.start()

    def feed(first):
        for n in range(first, first + 200):
            while graph.edges[0].try_put(Message(MessageType.DATA, n), block()).name == "BLOCKED":
                threading.Event().wait(0.0005)

    feeders = [threading.Thread(target=feed, args=(first,)) for first in (0, 1000)]
    for thread in feeders:
        thread.start()
    for thread in feeders:
        thread.join(10)
    all_in.wait(10)
    scheduler.shutdown()
    runs.join(2)
    odd = [n for n in consumer.received if n >= 1000]
    return [n for n in consumer.received if n < 1000], odd, runs.is_alive()


def a_hook_injects():
    """Another node's hooks put on an edge: at the start it is delivered, at the stop it is kept for the next run."""
    graph = Subgraph("g")

    class Injects(Node):
        def on_start(self):
            graph.edges[0].try_put(Message(MessageType.DATA, 99), drop())

        def on_stop(self):
            graph.edges[0].try_put(7)

    consumer = Consumer()
    for node in (Producer(), consumer, Injects("injects")):
        graph.add_node(node)
    graph.connect(("producer", "output"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1000, shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    first, left = list(consumer.received), graph.edges[0].depth()
    scheduler.run()
    return first, left, consumer.received


def raw_items():
    """Items that are no messages arrive in one: DATA, or CONTROL where the edge is in the CONTROL band."""
    seen = []

    class Sink(Node):
        def _handle_message(self, port, msg):
            seen.append((port, msg.type.name, msg.payload))

    graph = Subgraph.from_nodes(
        "g", [Node.with_ports("source", [], ["out"]), Sink.with_ports("sink", ["data", "control"], [])]
    )
    graph.connect(("source", "out"), ("sink", "data"))
    control = graph.connect(("source", "out"), ("sink", "control"))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.set_priority(control, PriorityBand.CONTROL)
    for item in (1, None, "two"):
        graph.edges[0].try_put(item)
    graph.edges[1].try_put("stop")
    scheduler.run()
    return sorted(seen, key=lambda each: each[0])


def ports_with_a_spec_as_third_argument():
    """What v1's soak tests wrote: the spec lands in `index`, so nothing is checked."""

    class Sink(Node):
        def __init__(self):
            super().__init__("sink", [Port("i0", PortDirection.INPUT, PortSpec("i0", int))], [])
            self.received = []

        def _handle_message(self, port, msg):
            self.received.append(msg.payload)

    class Source(Node):
        def __init__(self):
            super().__init__("source", [], [Port("o0", PortDirection.OUTPUT, PortSpec("o0", int))])

        def on_start(self):
            self.emit("o0", Message(MessageType.DATA, "no int, and nobody checks"))

    sink = Sink()
    graph = Subgraph.from_nodes("soak", [Source(), sink])
    graph.connect(("source", "o0"), ("sink", "i0"))
    issues = graph.validate()
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    return issues, sink.received
