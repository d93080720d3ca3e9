"""The workloads in Meridian, written as a user would: `from meridian import ...`, defaults everywhere.

A run is timed from the first item that its source is asked for until `Scheduler.run_async` returns.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from asv_bench.baseline import loop_pass
from asv_bench.shape import (
    BATCH,
    CAPACITY,
    CHAIN_HOPS,
    DEPTH,
    FAN,
    FAN_HOPS,
    MIDDLE,
    SPARSE_HOPS,
    Stopwatch,
    same,
    triangle,
    verify,
    work,
)
from meridian import (
    Edge,
    Emit,
    Inlet,
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
    graph,
    node,
    sink,
    source,
    via,
)

DATA = MessageType.DATA


async def same_async(x: int) -> int:
    return x


async def same_suspending(x: int) -> int:
    await asyncio.sleep(0)
    return x


def same_message(message: Message) -> Message:
    return message


def emit_same(x: int, emit: Emit[int]) -> None:
    emit(x)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "plain": same,
    "async": same_async,
    "suspending": same_suspending,
    "envelope": same_message,
    "emit": emit_same,
    "working": work,
}


class Forward(Node):
    """A node in the style of version 1: it gets envelopes and emits."""

    def __init__(self, name: str) -> None:
        super().__init__(name, [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.emit("out", msg)


class Sum(Node):
    """A sink in the style of version 1."""

    def __init__(self) -> None:
        super().__init__("sum", [Port("in", PortDirection.INPUT)], [])
        self.sum = 0

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.sum += msg.payload


class Total:
    """A sink that adds up."""

    def __init__(self) -> None:
        self.sum = 0

    def add(self, x: int) -> None:
        self.sum += x

    def add_message(self, message: Message) -> None:
        self.sum += message.payload


# ---- W1: chain -----------------------------------------------------------------------------------------------------


async def chain(
    n: int,
    style: str = "plain",
    *,
    capacity: int = CAPACITY,
    slice: int = BATCH,
    clock: Any = None,
    items: Callable[[], Iterable[int]] | None = None,
) -> float:
    """W1: ``n`` numbers through three nodes into a sum; return nanoseconds per hop.

    Args:
        n: How many.
        style: What the nodes are: ``plain``, ``async`` or ``suspending`` functions, functions that ``emit``, functions on an
            ``envelope`` that is made once at the source, ``working`` functions that have something to do, or v1-style nodes,
            each a ``class`` that emits envelopes.
        capacity: Of each edge.
        slice: Most messages that a node gets at a time.
        clock: The run's clock; the system's by default.
        items: Gives the numbers; must be those of the range.
    """
    watch, total = Stopwatch(), Sum() if style == "class" else Total()

    def numbers() -> Iterable[int]:
        watch.start()
        return range(n) if items is None else items()

    def envelopes() -> Iterable[Message]:
        watch.start()
        return (Message(DATA, i) for i in range(n))

    nodes: list[Any]
    if isinstance(total, Sum):
        nodes = [*(Forward(f"node-{i}") for i in range(MIDDLE)), total]
    else:
        passing = node(FUNCTIONS[style])
        nodes = [passing.named(f"node-{i}") for i in range(MIDDLE)]
        nodes.append(sink(total.add_message if style == "envelope" else total.add))
    flow: Any = source(envelopes if style == "envelope" else numbers)
    for each in nodes:
        flow = flow >> via(capacity=capacity) >> each
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=slice), clock=clock)
    scheduler.register(graph("chain", flow))
    await scheduler.run_async()
    watch.stop()
    verify(f"chain, {style}", total.sum, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


NATIVE_HOPS = 4


async def native(n: int, *, slice: int = BATCH) -> float:
    """A chain of ready-made nodes that route, filter by type, throttle and count; return nanoseconds per hop.

    None of them calls a function: the type tells the route, and what passes the filter. The bucket of the throttle never
    gets empty.
    """
    from meridian.nodes import CounterNode, FilterTransformer, Router, ThrottleNode

    watch = Stopwatch()

    def words() -> Iterable[str]:
        watch.start()
        return repeat("word", n)

    router = Router("route", by_type={str: "on"})
    ends: list[dict[str, float]] = []
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=slice))
    scheduler.register(
        graph(
            "native",
            source(words) >> router,
            router["on"]
            >> FilterTransformer("filter", types=str)
            >> ThrottleNode("throttle", 1e12)
            >> CounterNode("count", ["word"])
            >> sink(ends.append),
        )
    )
    await scheduler.run_async()
    watch.stop()
    verify("native nodes", ends[-1], {"word": float(n)})
    return watch.ns / (n * NATIVE_HOPS)


# ---- W2: fan -------------------------------------------------------------------------------------------------------


async def fan_in(n: int, *, clock: Any = None) -> float:
    """Eight sources of ``n`` numbers each into one sink; return nanoseconds per hop.

    Args:
        n: How many of each source.
        clock: The run's clock; the system's by default.
    """
    watch, total = Stopwatch(), Total()

    def numbers() -> Iterable[int]:
        if not hasattr(watch, "began"):  # the first of them
            watch.start()
        return range(n)

    made = Subgraph("fan-in")
    made.add_node(sink(total.add), "sum")
    for i in range(FAN):
        made.add_node(source(numbers), f"source-{i}")
        made.connect((f"source-{i}", "output"), ("sum", "input"), CAPACITY)
    scheduler = Scheduler(clock=clock)
    scheduler.register(made)
    await scheduler.run_async()
    watch.stop()
    verify("fan-in", total.sum, FAN * triangle(n))
    return watch.ns / (n * FAN)


async def fan(n: int) -> float:
    """W2: each number to eight branches and all of them into one sink; return nanoseconds per hop."""
    watch, total = Stopwatch(), Total()

    def numbers() -> Iterable[int]:
        watch.start()
        return range(n)

    passing = node(same)
    branches = [passing.named(f"branch-{i}") for i in range(FAN)]
    scheduler = Scheduler()
    scheduler.register(graph("fan", source(numbers) >> branches >> sink(total.add)))
    await scheduler.run_async()
    watch.stop()
    verify("fan", total.sum, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


# ---- W3 to W5: graphs that wait for messages -----------------------------------------------------------------------


class Waiting:
    """A graph that is fed from outside: an inlet at the head of each chain, and a last node that answers the caller.

    Args:
        nodes: How many pass-through nodes there are.
        depth: How many of them stand in one chain.
        style: ``plain`` or ``async``, or the function itself.
    """

    def __init__(self, nodes: int, depth: int, style: str | Callable[[int], int] = "plain") -> None:
        self.answer: asyncio.Future[int] | None = None
        self.heads: list[Inlet] = []
        made = Subgraph("waiting")
        passing = node(FUNCTIONS[style] if isinstance(style, str) else style)
        made.add_node(sink(self._reply), "reply")
        for c in range(max(1, nodes // depth)):
            inlet = Inlet(f"{c}")
            self.heads.append(inlet)
            made.add_node(inlet)
            before = (inlet.name, "output")
            for i in range(depth):
                name = f"{c}-{i}"
                made.add_node(passing, name)
                made.connect(before, (name, "input"), CAPACITY)
                before = (name, "output")
            made.connect(before, ("reply", "input"), CAPACITY)
        self.scheduler = Scheduler()
        self.scheduler.register(made)

    def _reply(self, x: int) -> None:
        if self.answer is not None:
            self.answer.set_result(x)

    def start(self) -> None:
        self._run = asyncio.create_task(self.scheduler.run_async())

    async def stop(self) -> None:
        self.scheduler.shutdown()
        await self._run

    async def send(self, head: Inlet, x: int) -> int:
        """Send one message, as soon as the run has begun, and wait for it at the other end."""
        self.answer = asyncio.get_running_loop().create_future()
        await head.put(x)
        return await self.answer


@asynccontextmanager
async def pings(
    style: str = "plain", *, push: bool = False
) -> AsyncIterator[Callable[[int], Awaitable[list[int]]]]:
    """W3: give a function that sends so many pings through three nodes, one at a time, and returns what each took in ns.

    Args:
        style: ``plain`` or ``async``.
        push: Run to completion in the caller instead of in the next pass of the loop.
    """
    waiting = Waiting(MIDDLE, MIDDLE, style)
    waiting.start()
    head = waiting.heads[0]
    await waiting.send(head, 0)
    put = head.push if push else head.try_put
    create_future, clock = asyncio.get_running_loop().create_future, time.perf_counter_ns

    async def block(count: int) -> list[int]:
        samples = []
        total = 0
        for i in range(count):
            began = clock()
            answer = waiting.answer = create_future()
            put(i)
            total += await answer
            samples.append(clock() - began)
        verify(f"ping, {style}", total, triangle(count))
        return samples

    try:
        yield block
    finally:
        await waiting.stop()


@asynccontextmanager
async def ping(
    style: str = "plain", *, push: bool = False
) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W3: the same, and the function returns the median."""
    async with pings(style, push=push) as block:

        async def middle(count: int) -> float:
            return median(await block(count))

        yield middle


@asynccontextmanager
async def ping_without_loop() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W3 less what the event loop alone takes of it, measured right before and right after."""
    async with ping() as whole, loop_pass() as loop:

        async def block(count: int) -> float:
            before, took, after = await loop(count // 2), await whole(count), await loop(count // 2)
            return took - (before + after) / 2

        yield block


@asynccontextmanager
async def sparse(nodes: int, style: str = "plain") -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W4: give a function that sends so many messages, each into a random head, and returns nanoseconds per hop."""
    waiting = Waiting(nodes, DEPTH, style)
    waiting.start()
    random = Random(1)
    for head in waiting.heads:  # a step is compiled on first use
        await waiting.send(head, 0)
    create_future = asyncio.get_running_loop().create_future

    async def block(count: int) -> float:
        picks = [random.choice(waiting.heads).try_put for _ in range(count)]
        total = 0
        watch = Stopwatch()
        watch.start()
        for i, put in enumerate(picks):
            answer = waiting.answer = create_future()
            put(i)
            total += await answer
        watch.stop()
        verify("sparse", total, triangle(count))
        return watch.ns / (count * SPARSE_HOPS)

    try:
        yield block
    finally:
        await waiting.stop()


async def build(nodes: int, style: str = "plain") -> float:
    """W5: from nothing until the first message is through its chain; return nanoseconds per node.

    The whole of it: nodes, edges, validation, plan, engine, start.
    """
    watch = Stopwatch()
    watch.start()
    waiting = Waiting(nodes, DEPTH, style)
    waiting.start()
    got = await waiting.send(waiting.heads[0], 7)
    watch.stop()
    await waiting.stop()
    verify(f"build, {style}", got, 7)
    return watch.ns / nodes


# ---- W6: memory ----------------------------------------------------------------------------------------------------


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def memory_graph(nodes: int) -> tuple[float, float]:
    """W6: return the bytes of one node and one edge of a running graph: at rest, and after its first message."""
    loop = asyncio.get_running_loop()
    tracemalloc.start()
    try:
        before = _traced()
        waiting = Waiting(nodes, nodes)
        waiting.start()
        while "nodes_count" not in waiting.scheduler.get_stats():  # noqa: ASYNC110  # it only tells when asked
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        at_rest = _traced() - before
        waiting.answer = loop.create_future()
        await waiting.heads[0].put(7)
        verify("memory", await waiting.answer, 7)
        used = _traced() - before
        await waiting.stop()
    finally:
        tracemalloc.stop()
    return at_rest / nodes, used / nodes


def memory_message(n: int) -> float:
    """W6: return the bytes of one queued raw message; the payload is shared."""
    made = graph(
        "queued",
        Node.with_ports("a", [], ["output"]) >> via(capacity=n) >> Node.with_ports("b", ["input"], []),
    )
    edge = made.edges[0]
    edge.try_put(None)
    edge.try_get()
    tracemalloc.start()
    try:
        before = _traced()
        for _ in range(n):
            edge.try_put(None)
        held = _traced() - before
    finally:
        tracemalloc.stop()
    verify("queued messages", edge.depth(), n)
    return held / n


async def memory_envelope(n: int) -> float:
    """W6: return the bytes of one envelope made while a graph runs; the payload is shared."""
    held: list[int] = []

    def measure(count: int) -> None:
        kept: list[Any] = [None] * count
        before = _traced()
        for i in range(count):
            kept[i] = Message(DATA, None)
        held.append(_traced() - before)

    scheduler = Scheduler()
    scheduler.register(graph("envelopes", source([n, 2 * n]) >> sink(measure)))
    tracemalloc.start()
    try:
        await scheduler.run_async()
    finally:
        tracemalloc.stop()
    verify("envelopes", len(held), 2)
    return (held[1] - held[0]) / n  # what measuring itself holds cancels out


# What `tracemalloc` can't see, an engine that isn't written in Python allocates: so the process is asked how much memory
# it has. What was measured stays, or the next sample would find room in what this one left.

ROLLUP = Path("/proc/self/smaps_rollup")


def anonymous_bytes() -> int:
    """Return the memory of this process that isn't the content of files."""
    gc.collect()
    for line in ROLLUP.read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{ROLLUP} doesn't tell")


@asynccontextmanager
async def resident_graph(*, used: bool) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W6: give a function that returns the bytes of so many nodes of a running graph, each with an edge, per node.

    Args:
        used: After the first message, and not before it.
    """
    running: list[Waiting] = []

    async def block(count: int) -> float:
        before = anonymous_bytes()
        waiting = Waiting(count, count)
        running.append(waiting)
        waiting.start()
        while "nodes_count" not in waiting.scheduler.get_stats():  # noqa: ASYNC110  # it only tells when asked
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        if used:
            verify("resident graph", await waiting.send(waiting.heads[0], 7), 7)
        return (anonymous_bytes() - before) / count

    try:
        yield block
    finally:
        for waiting in running:
            await waiting.stop()


@asynccontextmanager
async def resident_edges() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """Give a function that returns the bytes of so many edges that were used once and are idle, per edge."""
    output, input = Port("output", PortDirection.OUTPUT), Port("input", PortDirection.INPUT)
    kept: list[list[Edge[None]]] = []

    async def block(count: int) -> float:
        edges: list[Any] = [None] * count
        kept.append(edges)
        before = anonymous_bytes()
        for i in range(count):
            edge: Edge[None] = Edge("a", output, "b", input, CAPACITY)
            edge.try_put(None)
            edge.try_get()
            edges[i] = edge
        held = anonymous_bytes() - before
        verify("idle edges", sum(edge.depth() for edge in edges), 0)
        return held / count

    yield block


@asynccontextmanager
async def resident_messages() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W6: give a function that returns the bytes of so many raw messages on an edge, per message."""
    output, input = Port("output", PortDirection.OUTPUT), Port("input", PortDirection.INPUT)
    kept: list[Edge[None]] = []

    async def block(count: int) -> float:
        edge: Edge[None] = Edge("a", output, "b", input, count)
        kept.append(edge)
        before = anonymous_bytes()
        for _ in range(count):
            edge.try_put(None)
        held = anonymous_bytes() - before
        verify("queued messages", edge.depth(), count)
        return held / count

    yield block


@asynccontextmanager
async def resident_envelopes() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W6: give a function that returns the bytes of so many envelopes made while a graph runs, per envelope."""
    kept: list[list[Message]] = []
    held: list[int] = []

    def measure(count: int) -> None:
        made: list[Any] = [None] * count
        kept.append(made)
        before = anonymous_bytes()
        for i in range(count):
            made[i] = Message(DATA, None)
        held.append(anonymous_bytes() - before)

    async def block(count: int) -> float:
        scheduler = Scheduler()
        scheduler.register(graph("envelopes", source([count]) >> sink(measure)))
        await scheduler.run_async()
        return held.pop() / count

    yield block


# ---- single calls --------------------------------------------------------------------------------------------------


async def put_and_get(n: int, edge: Edge[int] | None = None) -> float:
    """Put on an edge and taken off it by hand, without a run; return nanoseconds per pair.

    Args:
        n: How many.
        edge: The edge; one with defaults by default.
    """
    if edge is None:
        edge = Edge(
            "a", Port("output", PortDirection.OUTPUT), "b", Port("input", PortDirection.INPUT), CAPACITY
        )
    put, get = edge.try_put, edge.try_get
    total: Any = 0
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        put(i)
        total += get()
    watch.stop()
    verify("put and get", total, triangle(n))
    return watch.ns / n


async def messages_made(n: int) -> float:
    """Make messages outside a run; return nanoseconds per message."""
    last: Any = None
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        last = Message(DATA, i)
    watch.stop()
    verify("messages made", last.payload, n - 1)
    return watch.ns / n


class Burst(Node):
    """Emits one message many times for each one that comes, and times nothing else."""

    def __init__(self, n: int) -> None:
        super().__init__("burst", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        self.n = n
        self.watch = Stopwatch()

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.watch.start()
        for _ in range(self.n):
            self.emit("out", msg)
        self.watch.stop()


async def emitted(n: int) -> float:
    """Emit in a run, on an edge with room for it all; return nanoseconds per `Node.emit`."""
    burst, total = Burst(n), Sum()
    scheduler = Scheduler()
    scheduler.register(graph("emitted", source([1]) >> burst >> via(capacity=n) >> total))
    await scheduler.run_async()
    verify("emitted", total.sum, n)
    return burst.watch.ns / n
