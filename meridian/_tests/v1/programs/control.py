"""Programs with CONTROL: kill switches, bands, and threads that stop a run."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

import threading
import time

from meridian._tests.v1.programs.hello import Consumer, Producer
from meridian.core import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)
from meridian.core.policies import latest
from meridian.core.runtime_plan import PriorityBand


def a_kill_switch():
    """A CONTROL edge, its band set before the graph is registered; the first CONTROL message stops the run."""

    class Worker(Node):
        def __init__(self):
            super().__init__(
                "worker", [Port("in", PortDirection.INPUT), Port("control", PortDirection.INPUT)], []
            )
            self.events = []

        def _handle_message(self, port, msg):
            self.events.append(msg.payload if port == "control" else "data")
            if msg.is_control():
                scheduler.shutdown()

    class Kill(Node):
        def __init__(self):
            super().__init__("kill", outputs=[Port("out", PortDirection.OUTPUT)])
            self.ticks = 0

        def _handle_tick(self):
            self.ticks += 1
            if self.ticks == 3:
                self.emit("out", Message(MessageType.CONTROL, "shutdown"))

    worker = Worker()
    graph = Subgraph.from_nodes("g", [Producer(), Kill(), worker])
    graph.connect(("producer", "output"), ("worker", "in"), capacity=2, policy=latest())
    edge_id = graph.connect(("kill", "out"), ("worker", "control"), capacity=1)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=5))
    scheduler.set_priority(edge_id, PriorityBand.CONTROL)
    scheduler.register(graph)
    scheduler.run()
    return edge_id, worker.events.count("shutdown"), scheduler.is_running()


def control_among_data():
    """Two edges of two, a slow handler: how many DATA deliveries come between two CONTROL ones."""

    class Sends(Node):
        def __init__(self, name, kind):
            super().__init__(name, outputs=[Port("out", PortDirection.OUTPUT)])
            self.kind = kind
            self.sent = 0

        def _handle_tick(self):
            for _ in range(4):
                if self.sent < 60:
                    self.sent += 1
                    self.emit("out", Message(self.kind, self.sent))

    kinds = []

    class Slow(Node):
        def _handle_message(self, port, msg):
            time.sleep(0.001)
            kinds.append(msg.type)

    data, control = Sends("data", MessageType.DATA), Sends("control", MessageType.CONTROL)
    graph = Subgraph.from_nodes("g", [data, control, Slow.with_ports("slow", ["in", "control"], [])])
    graph.connect(("data", "out"), ("slow", "in"), capacity=2)
    id = graph.connect(("control", "out"), ("slow", "control"), capacity=2)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.3))
    scheduler.set_priority(id, PriorityBand.CONTROL)
    scheduler.register(graph)
    scheduler.run()
    gaps, gap = [], 0
    for kind in kinds[: len(kinds) - kinds[::-1].index(MessageType.CONTROL)]:
        gap = 0 if kind is MessageType.CONTROL else gap + 1
        gaps.append(gap)
    return kinds.count(MessageType.DATA), kinds.count(MessageType.CONTROL), max(gaps)


def a_run_in_a_worker_thread():
    """The main thread waits for something to happen, then stops the run."""
    consumer = Consumer()
    graph = Subgraph.from_nodes("g", [producer := Producer(), consumer])
    graph.connect(("producer", "output"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=5.0))
    scheduler.register(graph)
    three = threading.Event()
    handle = consumer._handle_message

    def watched(port, msg):
        handle(port, msg)
        if msg.payload >= 3:
            three.set()

    consumer._handle_message = watched
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    three.wait(10)
    while_running = scheduler.is_running(), scheduler.get_stats()["status"]
    scheduler.shutdown()
    thread.join(2)
    return while_running, thread.is_alive(), scheduler.is_running(), producer.count, consumer.received


def a_stop_amid_a_slow_consumer():
    """The consumer asks for a stop; what had been sent until then still arrives."""

    class Slow(Consumer):
        def _handle_message(self, port, msg):
            super()._handle_message(port, msg)
            if len(self.received) == 3:
                scheduler.shutdown()

    slow = Slow()
    graph = Subgraph.from_nodes("g", [producer := Producer(), slow])
    graph.connect(("producer", "output"), ("consumer", "input"), capacity=4)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=0, shutdown_timeout_s=5))
    scheduler.register(graph)
    scheduler.run()
    return producer.count, slow.received


def capacities_and_bands_change_while_it_runs():
    """set_priority and set_capacity from a hook: known edges change, unknown ones are a warning."""
    seen = []

    class Changes(Producer):
        def _handle_tick(self):
            super()._handle_tick()
            if self.count == 2:
                scheduler.set_capacity(id, 3)
                scheduler.set_priority(id, PriorityBand.HIGH)
                scheduler.set_priority("no:such->edge:here", PriorityBand.HIGH)
                scheduler.set_capacity("no:such->edge:here", 3)
                seen.append(graph.edges[0].capacity)
                scheduler.shutdown()

    graph = Subgraph.from_nodes("g", [Changes(), Consumer()])
    id = graph.connect(("producer", "output"), ("consumer", "input"), capacity=9)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1))
    scheduler.register(graph)
    scheduler.run()
    refused = []
    for call in (
        lambda: scheduler.set_priority(id, 3),
        lambda: scheduler.set_capacity(id, 0),
        lambda: graph.connect(("producer", "output"), ("consumer", "input"), capacity=0),
    ):
        try:
            call()
        except ValueError as error:
            refused.append(type(error).__name__)
    return seen, refused
