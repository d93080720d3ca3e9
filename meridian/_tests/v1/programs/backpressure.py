"""Programs that fill edges: retry loops, bursts, and every policy."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

from meridian._tests.v1.programs.hello import Consumer
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
from meridian.core.policies import block, coalesce, drop, latest


class Output(Node):
    def __init__(self, name="source"):
        super().__init__(name, outputs=[Port("output", PortDirection.OUTPUT)])


def run(source, capacity, policy=None, **config):
    consumer = Consumer()
    graph = Subgraph.from_nodes("g", [source, consumer])
    graph.connect((source.name, "output"), ("consumer", "input"), capacity, policy)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, **{"shutdown_timeout_s": 0.05, **config}))
    scheduler.register(graph)
    scheduler.run()
    return consumer.received, scheduler


def the_tutorials_retry_loop():
    """Catches RuntimeError, looks for "Backpressure", and sends the same message later."""

    class Patient(Output):
        def __init__(self):
            super().__init__()
            self.pending = [Message(MessageType.DATA, n) for n in range(3000)]
            self.blocked = 0

        def _handle_tick(self):
            while self.pending:
                try:
                    self.emit("output", self.pending[0])
                except RuntimeError as error:
                    if "Backpressure" not in str(error):
                        raise
                    self.blocked += 1
                    return
                self.pending.pop(0)

    patient = Patient()
    received, _ = run(patient, 8, block(), shutdown_timeout_s=0.2)
    return received, patient.blocked


def emit_until_runtime_error():
    """Fills whatever there is until it is told to stop, as v1's benchmarks did; counts what was accepted."""

    class Floods(Output):
        accepted = 0
        refused = 0

        def _handle_tick(self):
            if self.accepted:
                return
            while True:
                try:
                    self.emit("output", Message(MessageType.DATA, self.accepted))
                except RuntimeError:
                    self.refused += 1
                    return
                self.accepted += 1

    floods = Floods()
    received, _ = run(floods, 4)
    return received, floods.accepted, floods.refused


def a_flood_without_any_handling():
    """Lets the error escape from its tick; what it had emitted arrives all the same."""

    class Floods(Output):
        n = 0

        def _handle_tick(self):
            while self.n < 100_000:
                self.n += 1
                self.emit("output", Message(MessageType.DATA, self.n))

    floods = Floods()
    received, scheduler = run(floods, 8, shutdown_timeout_s=0)
    return received, floods.n, scheduler.report().errors_total


def a_burst_into_a_small_edge():
    """40 messages in bursts of 8 into an edge of 4: v1 lost eight of them."""

    class Bursts(Output):
        n = 0

        def _handle_tick(self):
            for _ in range(8):
                if self.n < 40:
                    self.n += 1
                    self.emit("output", Message(MessageType.DATA, self.n))

    return run(Bursts(), 4, block())[0]


def every_policy_in_one_graph():
    class Fast(Output):
        def on_start(self):
            for n in range(10):
                self.emit("output", Message(MessageType.DATA, n))

    sinks = {name: Consumer(name) for name in ("drop", "latest", "coalesce")}
    graph = Subgraph.from_nodes("g", [Fast(), *sinks.values()])
    graph.connect(("source", "output"), ("drop", "input"), 3, drop())
    graph.connect(("source", "output"), ("latest", "input"), 3, latest())
    graph.connect(("source", "output"), ("coalesce", "input"), 3, coalesce(lambda old, new: old + new))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    return {name: sink.received for name, sink in sinks.items()}


def a_coalesce_function_for_messages():
    """The tutorial's way: reads .payload where there is one, and returns a Message."""

    def merge(old, new):
        parts = [str(getattr(each, "payload", each)) for each in (old, new)]
        return Message(MessageType.DATA, "+".join(parts))

    class Words(Output):
        def on_start(self):
            for word in "abcde":
                self.emit("output", Message(MessageType.DATA, word))

    consumer = Consumer()
    consumer.inputs = [Port("input", PortDirection.INPUT)]
    graph = Subgraph.from_nodes("g", [Words(), consumer])
    graph.connect(("source", "output"), ("consumer", "input"), 2, coalesce(merge))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    return consumer.received


def a_policy_of_ones_own():
    """Any object with on_enqueue: this one takes every second item when more than half full."""
    from meridian.core.policies import PutResult

    class Thin:
        def on_enqueue(self, capacity, size, item):
            if size >= capacity or (size * 2 >= capacity and item.payload % 2):
                return PutResult.DROPPED
            return PutResult.OK

    class Fast(Output):
        def on_start(self):
            for n in range(10):
                self.emit("output", Message(MessageType.DATA, n))

    return run(Fast(), 8, Thin())[0]
