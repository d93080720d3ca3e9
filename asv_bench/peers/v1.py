"""The workloads in meridian-runtime 1.2.0, in an environment that has it.

Set up for speed: no sleeping, few ticks. Its source fills the edge on each tick and keeps back what was refused.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

from asv_bench.peers.flows import SPARSE_NODES, each_anew_without_loop
from asv_bench.shape import (
    CAPACITY,
    CHAIN_HOPS,
    DEPTH,
    FAN,
    FAN_HOPS,
    MIDDLE,
    SPARSE_HOPS,
    Stopwatch,
    triangle,
    verify,
    work,
)

# The checkout has a package of the same name, and Python looks there first.
sys.path.append(sys.path.pop(0))

from meridian.core import (  # after the path is right
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)
from meridian.core.policies import Block
from meridian.observability.logging import configure

configure(level="ERROR", stream=io.StringIO())
NEVER_MS = 10**9


def port_in(name: str = "in") -> Port:
    return Port(name, PortDirection.INPUT)


def port_out(name: str = "out") -> Port:
    return Port(name, PortDirection.OUTPUT)


def scheduler(tick_interval_ms: int) -> Scheduler:
    return Scheduler(
        SchedulerConfig(
            tick_interval_ms=tick_interval_ms, idle_sleep_ms=0, max_batch_per_node=64, shutdown_timeout_s=1e9
        )
    )


class Numbers(Node):
    def __init__(self, n: int, at_once: int) -> None:
        super().__init__("numbers", [], [port_out()])
        self.n, self.at_once, self.next = n, at_once, 0
        self.refused: Any = None

    def _handle_tick(self) -> None:
        for _ in range(min(self.at_once, self.n - self.next)):
            message = self.refused or Message(MessageType.DATA, self.next)
            try:
                self.emit("out", message)
            except RuntimeError:
                self.refused = message
                return
            self.refused = None
            self.next += 1


class Pass(Node):
    def __init__(self, name: str) -> None:
        super().__init__(name, [port_in()], [port_out()])

    def _handle_message(self, port: str, msg: Any) -> None:
        self.emit("out", msg)


class Work(Pass):
    def _handle_message(self, port: str, msg: Any) -> None:
        work(msg.payload)
        self.emit("out", msg)


class Sum(Node):
    """Adds up, and ends the run with the last message."""

    def __init__(self, runs: Scheduler, n: int, inputs: list[Port]) -> None:
        super().__init__("sum", inputs, [])
        self.runs, self.left, self.total = runs, n, 0

    def _handle_message(self, port: str, msg: Any) -> None:
        self.total += msg.payload
        self.left -= 1
        if not self.left:
            self.runs.shutdown()


def timed(runs: Scheduler, graph: Subgraph) -> int:
    runs.register(graph)
    watch = Stopwatch()
    watch.start()
    runs.run()
    watch.stop()
    return watch.ns


def chain(n: int, kind: type[Pass] = Pass) -> float:
    runs = scheduler(1)
    end = Sum(runs, n, [port_in()])
    nodes = [Numbers(n, n), *(kind(f"node-{i}") for i in range(MIDDLE)), end]
    graph = Subgraph.from_nodes("chain", nodes)
    for before, after in pairwise(nodes):
        graph.connect((before.name, "out"), (after.name, "in"), capacity=CAPACITY, policy=Block())
    ns = timed(runs, graph)
    verify("1.2.0 chain", end.total, triangle(n))
    return ns / (n * CHAIN_HOPS)


def fan(n: int) -> float:
    runs = scheduler(1)
    # Several edges into one port hide one another in 1.2.0, and an emit that one of several edges refuses has reached the
    # others: so each branch has a port of its own, and the source sends no more at a time than every edge has room for.
    end = Sum(runs, n * FAN, [port_in(f"in-{i}") for i in range(FAN)])
    branches = [Pass(f"branch-{i}") for i in range(FAN)]
    graph = Subgraph.from_nodes("fan", [Numbers(n, 32), *branches, end])
    for i, branch in enumerate(branches):
        graph.connect(("numbers", "out"), (branch.name, "in"), capacity=CAPACITY, policy=Block())
        graph.connect((branch.name, "out"), ("sum", f"in-{i}"), capacity=CAPACITY, policy=Block())
    ns = timed(runs, graph)
    verify("1.2.0 fan", end.total, FAN * triangle(n))
    return ns / (n * FAN_HOPS)


class Driver(Node):
    """Stands at the end of every chain, and puts the next message onto one of the heads."""

    def __init__(self, runs: Scheduler, chains: int, count: int) -> None:
        super().__init__(
            "driver",
            [port_in(f"in-{i}") for i in range(chains)],
            [port_out(f"out-{i}") for i in range(chains)],
        )
        self.runs, self.count = runs, count
        self.heads: list[Any] = []
        self.samples: list[int] = []
        self.watch = Stopwatch()
        self.random = Random(1)
        self.total = 0
        self.began = 0
        self.warm = False

    def send(self, x: int) -> None:
        head = self.random.choice(self.heads)
        self.began = time.perf_counter_ns()
        head.try_put(Message(MessageType.DATA, x))

    def _handle_message(self, port: str, msg: Any) -> None:
        took = time.perf_counter_ns() - self.began
        if not self.warm:  # the first one came with the start of the run
            self.warm = True
            self.watch.start()
            self.send(0)
            return
        self.samples.append(took)
        self.total += msg.payload
        if len(self.samples) < self.count:
            self.send(len(self.samples))
        else:
            self.watch.stop()
            self.runs.shutdown()


def driven(count: int, chains: int, depth: int) -> Driver:
    runs = scheduler(NEVER_MS)
    driver = Driver(runs, chains, count)
    graph = Subgraph.from_nodes("driven", [driver])
    for c in range(chains):
        nodes = [Pass(f"{c}-{i}") for i in range(depth)]
        for node in nodes:
            graph.add_node(node)
        ends = [("driver", f"out-{c}"), *((node.name, "out") for node in nodes)]
        starts = [*((node.name, "in") for node in nodes), ("driver", f"in-{c}")]
        for end, start in zip(ends, starts, strict=True):
            graph.connect(end, start, capacity=CAPACITY, policy=Block())
            if end[0] == "driver":
                driver.heads.append(graph.edges[-1])
    runs.register(graph)
    driver.send(0)
    runs.run()
    verify("1.2.0, one at a time", driver.total, triangle(count))
    return driver


@contextmanager
def pings() -> Iterator[Callable[[int], list[int]]]:
    yield lambda count: driven(count, 1, MIDDLE).samples


def sparse(count: int) -> float:
    return driven(count, SPARSE_NODES // DEPTH, DEPTH).watch.ns / (count * SPARSE_HOPS)


FORMS = {
    "": {
        "W1": each_anew_without_loop(chain),
        "W2": each_anew_without_loop(fan),
        "W3": pings,
        "W4": each_anew_without_loop(sparse),
        "work": each_anew_without_loop(lambda n: chain(n, Work)),
    }
}
