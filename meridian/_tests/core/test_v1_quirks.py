"""Typical v1 programs, written from the reference alone, and the quirks they lean on (section 14)."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, requires

import pytest

from meridian._tests.core.parts import in_thread, join
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
from meridian.core.policies import PutResult, block, coalesce, drop, latest
from meridian.core.runtime_plan import PriorityBand

pytestmark = pytest.mark.req("V1")


class Producer(Node):
    """The producer of v1's tutorials: one message a tick, for ever."""

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


@pytest.mark.v1("L1")
def test_hello_world_returns_from_the_main_thread_by_itself():
    graph = Subgraph.from_nodes("hello_world", [producer := Producer(), consumer := Consumer()])
    graph.connect(("producer", "output"), ("consumer", "input"), capacity=16)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    assert scheduler.run() is None
    assert consumer.received == list(range(producer.count))
    assert scheduler.get_stats() == {"status": "stopped"}


@pytest.mark.v1("L1")
def test_a_timeout_ends_a_run_soon_after_it():
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=5, shutdown_timeout_s=0.3))
    scheduler.register(Producer())
    scheduler.run()
    assert 0.3 <= scheduler.report().elapsed_s < 2


@pytest.mark.v1("L2")
def test_the_tutorials_retry_loop_delivers_every_message_once():
    class Patient(Node):
        def __init__(self):
            super().__init__("patient", outputs=[Port("output", PortDirection.OUTPUT)])
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

    patient, consumer = Patient(), Consumer()
    graph = Subgraph.from_nodes("g", [patient, consumer])
    graph.connect(("patient", "output"), ("consumer", "input"), capacity=8, policy=block())
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.2))
    scheduler.register(graph)
    scheduler.run()
    assert consumer.received == list(range(3000))
    assert patient.blocked > 0


def test_emit_until_runtime_error_without_any_handling_ends_too():
    class Floods(Node):
        def __init__(self):
            super().__init__("floods", outputs=[Port("output", PortDirection.OUTPUT)])
            self.n = 0

        def _handle_tick(self):
            while self.n < 100_000:
                self.n += 1
                self.emit("output", Message(MessageType.DATA, self.n))

    floods, consumer = Floods(), Consumer()
    graph = Subgraph.from_nodes("g", [floods, consumer])
    graph.connect(("floods", "output"), ("consumer", "input"), capacity=8)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0))
    scheduler.register(graph)
    scheduler.run()
    assert consumer.received == list(range(1, floods.n + 1))
    assert scheduler.report().errors_total == 0


@pytest.mark.v1("L3", "L17")
def test_a_benchmark_that_fills_an_edge_by_hand_and_runs():
    consumer = Consumer()
    graph = Subgraph.from_nodes("bench", [Producer(), consumer])
    graph.nodes["producer"]._handle_tick = lambda: None
    graph.connect(("producer", "output"), ("consumer", "input"), capacity=100)
    edge = graph.edges[-1]
    for n in range(100):
        assert edge.try_put(Message(MessageType.DATA, n)) == PutResult.OK
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, idle_sleep_ms=0, shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    assert consumer.received == list(range(100))
    assert edge.depth() == 0


@pytest.mark.v1("L8")
def test_a_soak_test_with_a_spec_as_third_argument_of_its_ports():
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
    assert graph.validate() == []
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    assert sink.received == ["no int, and nobody checks"]


@pytest.mark.v1("L20")
def test_a_run_in_a_worker_thread_is_stopped_by_the_main_thread():
    consumer = Consumer()
    graph = Subgraph.from_nodes("g", [Producer(), consumer])
    graph.connect(("producer", "output"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=5.0))
    scheduler.register(graph)
    three = threading.Event()
    consumer._handle_message = lambda port, msg: three.set() if msg.payload >= 3 else None
    thread = in_thread(scheduler.run)
    assert three.wait(10)
    assert scheduler.is_running()
    scheduler.shutdown()
    join(thread, 2)
    assert not scheduler.is_running()


@pytest.mark.v1("L20")
def test_a_stop_in_the_middle_of_a_slow_consumer_drains():
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
    thread = in_thread(scheduler.run)
    join(thread, 5)
    assert slow.received == list(range(producer.count))


@pytest.mark.v1("L23")
def test_a_kill_switch_wired_as_in_v1s_examples():
    class Worker(Node):
        def __init__(self):
            super().__init__(
                "worker", [Port("in", PortDirection.INPUT), Port("control", PortDirection.INPUT)], []
            )
            self.events = []

        def _handle_message(self, port, msg):
            self.events.append(msg.type.value if port == "control" else msg.payload)
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
    assert worker.events.count("CONTROL") == 1


@pytest.mark.v1("L17")
def test_another_nodes_hook_puts_on_an_edge_of_the_graph():
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
    assert consumer.received == [99]
    assert graph.edges[0].depth() == 1
    scheduler.run()
    assert consumer.received == [99, 7, 99]


def test_every_policy_in_one_graph():
    class Fast(Node):
        def __init__(self):
            super().__init__("fast", outputs=[Port("out", PortDirection.OUTPUT)])

        def on_start(self):
            for n in range(10):
                self.emit("out", Message(MessageType.DATA, n))

    sinks = {name: Consumer(name) for name in ("drop", "latest", "coalesce")}
    graph = Subgraph.from_nodes("g", [Fast(), *sinks.values()])
    graph.connect(("fast", "out"), ("drop", "input"), 3, drop())
    graph.connect(("fast", "out"), ("latest", "input"), 3, latest())
    graph.connect(("fast", "out"), ("coalesce", "input"), 3, coalesce(lambda old, new: old + new))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.02))
    scheduler.register(graph)
    scheduler.run()
    assert sinks["drop"].received == [0, 1, 2]
    assert sinks["latest"].received == [7, 8, 9]
    assert sinks["coalesce"].received == [0, 1, sum(range(2, 10))]


def test_a_pipeline_made_of_a_single_registered_node():
    seen = []

    class Lone(Node):
        def _handle_tick(self):
            seen.append("tick")
            scheduler.shutdown()

    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1))
    scheduler.register(Lone("lone"))
    scheduler.run()
    assert seen == ["tick"]


@pytest.mark.v1("D50")
def test_nothing_from_outside_is_required():
    try:
        required = requires("meridian-runtime") or []
    except PackageNotFoundError:
        pytest.skip("runs from a folder that was not installed")
    assert [each for each in required if "extra ==" not in each] == []
