"""A ticker without an end, run in the main thread: the first program of every v1 user."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

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


class Producer(Node):
    def __init__(self, name="producer"):
        super().__init__(
            name, inputs=[], outputs=[Port("output", PortDirection.OUTPUT, spec=PortSpec("output", int))]
        )
        self.count = 0

    def _handle_tick(self):
        self.emit("output", Message(MessageType.DATA, self.count))
        self.count += 1


class Consumer(Node):
    def __init__(self, name="consumer"):
        super().__init__(
            name, inputs=[Port("input", PortDirection.INPUT, spec=PortSpec("input", int))], outputs=[]
        )
        self.received = []

    def _handle_message(self, port, msg):
        self.received.append(msg.payload)


def hello_world():
    """Returns from run() by itself; everything that was sent has arrived."""
    graph = Subgraph.from_nodes("hello_world", [producer := Producer(), consumer := Consumer()])
    graph.connect(("producer", "output"), ("consumer", "input"), capacity=16)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    returned = scheduler.run()
    return returned, producer.count, consumer.received, scheduler.get_stats()


def pipeline():
    """Three stages of one class each; the middle one adds, the last one filters."""

    class Doubler(Node):
        def __init__(self):
            super().__init__(
                "doubler", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)]
            )

        def _handle_message(self, port, msg):
            self.emit("out", Message(type=MessageType.DATA, payload=msg.payload * 2))

    class Fours(Consumer):
        def _handle_message(self, port, msg):
            if msg.payload % 4 == 0:
                self.received.append(msg.payload)

    graph = Subgraph(name="pipeline")
    graph.add_node(producer := Producer())
    graph.add_node(Doubler())
    graph.add_node(fours := Fours())
    graph.connect(("producer", "output"), ("doubler", "in"), capacity=8)
    graph.connect(("doubler", "out"), ("consumer", "input"), capacity=8)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    return producer.count, fours.received


def a_lone_node():
    """A node registered by itself, which stops the run at its first tick."""
    seen = []

    class Lone(Node):
        def _handle_tick(self):
            seen.append("tick")
            scheduler.shutdown()

    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1))
    scheduler.register(Lone("lone"))
    scheduler.run()
    return seen


def twice():
    """run() may be called again: nodes start again, and what was left on edges is delivered."""
    starts = []

    class Starts(Consumer):
        def on_start(self):
            starts.append(len(self.received))

    consumer = Starts()
    graph = Subgraph.from_nodes("g", [Node.with_ports("source", [], ["out"]), consumer])
    graph.connect(("source", "out"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.02))
    scheduler.register(graph)
    for n in range(2):
        graph.edges[0].try_put(Message(MessageType.DATA, n))
        scheduler.run()
    return starts, consumer.received
