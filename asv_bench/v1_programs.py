"""The programs of the comparison with meridian-runtime 1.2.0; each runs unchanged on both.

    python v1_programs.py NAME [SECONDS]

prints one JSON object: CPU seconds per message, the median of as many repetitions as fit into SECONDS, and the result, which
has to be the same on both. Written for the API of 1.x, and so that 1.x gives the right result: edges are wide enough, or the
program takes backpressure the way its tutorial tells.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from statistics import median
from typing import Any

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
from meridian.core.policies import block
from meridian.observability import configure

LEAST_REPETITIONS = 3


class Relay(Node):
    def _handle_message(self, port, msg):
        self.emit("out", Message(MessageType.DATA, msg.payload))


class Sum(Node):
    def __init__(self, name="sum", inputs=(), outputs=()):
        super().__init__(name, list(inputs), list(outputs))
        self.total = 0

    def _handle_message(self, port, msg):
        self.total += msg.payload


def run(graph: Subgraph) -> float:
    """Run a graph until nothing is ready any more; return CPU seconds."""
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=60_000, idle_sleep_ms=0, shutdown_timeout_s=0))
    scheduler.register(graph)
    began = time.process_time()
    scheduler.run()
    return time.process_time() - began


def filled(graph: Subgraph, count: int) -> None:
    for n in range(count):
        graph.edges[0].try_put(Message(MessageType.DATA, n))


def chain_of(middle: list[Any], sink: Sum, count: int, ports: tuple[str, str] = ("in", "out")) -> Subgraph:
    source = Node.with_ports("source", [], ["out"])
    graph = Subgraph.from_nodes("chain", [source, *middle, sink])
    graph.connect(("source", "out"), (middle[0].name, ports[0]), capacity=count)
    for one, other in itertools.pairwise(middle):
        graph.connect((one.name, ports[1]), (other.name, ports[0]), capacity=count)
    graph.connect((middle[-1].name, ports[1]), (sink.name, "in"), capacity=count)
    filled(graph, count)
    return graph


def chain(count: int = 1000) -> tuple[float, int]:
    """A filled edge, three nodes that send each number on, a sum."""
    sink = Sum.with_ports("sum", ["in"], [])
    relays = [Relay.with_ports(f"relay{n}", ["in"], ["out"]) for n in range(3)]
    return run(chain_of(relays, sink, count)), sink.total


def fan(count: int = 500) -> tuple[float, int]:
    """A filled edge, one node, eight sums."""
    relay = Relay.with_ports("relay", ["in"], ["out"])
    sums = [Sum.with_ports(f"sum{n}", ["in"], []) for n in range(8)]
    graph = Subgraph.from_nodes("fan", [Node.with_ports("source", [], ["out"]), relay, *sums])
    graph.connect(("source", "out"), ("relay", "in"), capacity=count)
    for sink in sums:
        graph.connect(("relay", "out"), (sink.name, "in"), capacity=count)
    filled(graph, count)
    return run(graph), sum(sink.total for sink in sums)


def sparse(count: int = 100) -> tuple[float, int]:
    """The chain, among 300 nodes that have nothing to do."""
    sink = Sum.with_ports("sum", ["in"], [])
    graph = chain_of([Relay.with_ports("relay", ["in"], ["out"])], sink, count)
    for n in range(300):
        graph.add_node(Sum.with_ports(f"idle{n}", ["in"], []))
    return run(graph), sink.total


def nodes(count: int = 1000) -> tuple[float, int]:
    """The chain of ready-made nodes: one that maps, one that filters, one that maps."""
    from meridian.nodes import FilterTransformer, MapTransformer

    sink = Sum.with_ports("sum", ["in"], [])
    middle = [
        MapTransformer("double", lambda n: 2 * n),
        FilterTransformer("fours", lambda n: n % 4 == 0),
        MapTransformer("half", lambda n: n // 2),
    ]
    return run(chain_of(middle, sink, count, ("input", "output"))), sink.total


def retry(count: int = 500) -> tuple[float, int]:
    """A producer that fills an edge of 16, and sends later what was refused, as the tutorial of 1.x tells."""

    class Patient(Node):
        def on_start(self):
            self.next = 0

        def _handle_message(self, port, msg):
            while self.next < count:
                try:
                    self.emit("out", Message(MessageType.DATA, self.next))
                except RuntimeError as error:
                    if "Backpressure" not in str(error):
                        raise
                    return
                self.next += 1

    class Answers(Sum):
        """Asks for more by putting on the producer's own edge, by hand."""

        def _handle_message(self, port, msg):
            super()._handle_message(port, msg)
            if msg.payload % 8 == 7:
                graph.edges[0].try_put("more")

    sink = Answers.with_ports("sum", ["in"], [])
    # The consumer first: in 1.x a producer before it would stall the graph.
    graph = Subgraph.from_nodes("retry", [sink, Patient.with_ports("patient", ["again"], ["out"])])
    graph.add_node(Node.with_ports("source", [], ["out"]))
    graph.connect(("source", "out"), ("patient", "again"), capacity=count)
    graph.connect(("patient", "out"), ("sum", "in"), capacity=16, policy=block())
    graph.edges[0].try_put("begin")
    return run(graph), sink.total


def edge(count: int = 5000) -> tuple[float, int]:
    """Put on an edge and taken off it by hand, without a scheduler."""
    from meridian.core import Edge

    made = Edge("a", Port("out", PortDirection.OUTPUT), "b", Port("in", PortDirection.INPUT), capacity=64)
    total = 0
    began = time.process_time()
    for first in range(0, count, 50):
        for n in range(first, first + 50):
            made.try_put(n)
        for _ in range(50):
            total += made.try_get()
    return time.process_time() - began, total


def message(count: int = 5000) -> tuple[float, int]:
    """Messages made, and one header of each read."""
    began = time.process_time()
    total = 0
    for n in range(count):
        made = Message(MessageType.DATA, n)
        total += len(made.get_trace_id())
    return time.process_time() - began, total


PROGRAMS: dict[str, tuple[Callable[..., tuple[float, int]], int]] = {
    "chain": (chain, 1000),
    "fan": (fan, 500),
    "sparse": (sparse, 100),
    "nodes": (nodes, 1000),
    "retry": (retry, 500),
    "edge": (edge, 5000),
    "message": (message, 5000),
}
"""By name: the program, and how many messages it sends."""


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Repeat a program for about ``seconds``; return the median and what it computed."""
    program, count = PROGRAMS[name]
    configure("ERROR")
    took: list[float] = []
    results: set[int] = set()
    ends = time.monotonic() + seconds
    while len(took) < LEAST_REPETITIONS or time.monotonic() < ends:
        cpu_s, result = program(count)
        took.append(cpu_s)
        results.add(result)
    return {
        "version": metadata.version("meridian-runtime"),
        "seconds": median(took) / count,
        "repetitions": len(took),
        "result": results.pop() if len(results) == 1 else sorted(results),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)))
