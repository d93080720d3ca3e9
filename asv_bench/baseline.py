"""The workloads written by hand on asyncio.Queue: what a careful user has without a runtime.

Tasks and bounded queues, an end marker, nothing else: no policies, priorities, errors, counters or shutdown. The honest
rival for throughput is `batched`, where the user also passes lists of 64 along.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from statistics import median
from typing import Any

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
)

END = object()
Queue = asyncio.Queue[Any]


async def same_async(x: int) -> int:
    return x


async def same_suspending(x: int) -> int:
    await asyncio.sleep(0)
    return x


# ---- W1: chain -----------------------------------------------------------------------------------------------------


async def _produce(n: int, out: Queue) -> None:
    for i in range(n):
        await out.put(i)
    await out.put(END)


async def _apply(fn: Callable[[int], int], inbox: Queue, out: Queue) -> None:
    while True:
        x = await inbox.get()
        if x is END:
            await out.put(x)
            return
        await out.put(fn(x))


async def _apply_async(fn: Callable[[int], Awaitable[int]], inbox: Queue, out: Queue) -> None:
    while True:
        x = await inbox.get()
        if x is END:
            await out.put(x)
            return
        await out.put(await fn(x))


async def _total(inbox: Queue) -> int:
    total = 0
    while True:
        x = await inbox.get()
        if x is END:
            return total
        total += x


async def chain(n: int, fn: Callable[[int], Any] = same, *, capacity: int = CAPACITY) -> float:
    """W1: ``n`` numbers through three nodes that call ``fn``; return nanoseconds per hop."""
    apply: Any = _apply_async if asyncio.iscoroutinefunction(fn) else _apply
    queues: list[Queue] = [asyncio.Queue(capacity) for _ in range(CHAIN_HOPS)]
    watch = Stopwatch()
    watch.start()
    tasks = [asyncio.create_task(_produce(n, queues[0]))]
    tasks += [asyncio.create_task(apply(fn, queues[i], queues[i + 1])) for i in range(MIDDLE)]
    total = await asyncio.create_task(_total(queues[-1]))
    watch.stop()
    await asyncio.gather(*tasks)
    verify("baseline chain", total, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


def _lists(n: int, size: int) -> Iterator[list[int]]:
    for i in range(0, n, size):
        yield list(range(i, min(n, i + size)))


async def _apply_lists(fn: Callable[[int], int], inbox: Queue, out: Queue) -> None:
    while True:
        xs = await inbox.get()
        if xs is END:
            await out.put(xs)
            return
        await out.put([fn(x) for x in xs])


async def _total_lists(inbox: Queue, producers: int = 1) -> int:
    total = 0
    while producers:
        xs = await inbox.get()
        if xs is END:
            producers -= 1
        else:
            for x in xs:
                total += x
    return total


async def batched(
    n: int, fn: Callable[[int], int] = same, *, capacity: int = CAPACITY, batch: int = BATCH
) -> float:
    """W1 with lists of 64 as items, the usual optimisation by hand; return nanoseconds per hop."""
    queues: list[Queue] = [asyncio.Queue(max(1, capacity // batch)) for _ in range(CHAIN_HOPS)]

    async def produce(out: Queue) -> None:
        for xs in _lists(n, batch):
            await out.put(xs)
        await out.put(END)

    watch = Stopwatch()
    watch.start()
    tasks = [asyncio.create_task(produce(queues[0]))]
    tasks += [asyncio.create_task(_apply_lists(fn, queues[i], queues[i + 1])) for i in range(MIDDLE)]
    total = await asyncio.create_task(_total_lists(queues[-1]))
    watch.stop()
    await asyncio.gather(*tasks)
    verify("baseline batched", total, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


# ---- W2: fan -------------------------------------------------------------------------------------------------------


async def fan(n: int) -> float:
    """W2: each number to eight branches and all of them into one sink; return nanoseconds per hop."""
    branches: list[Queue] = [asyncio.Queue(CAPACITY) for _ in range(FAN)]
    joined: Queue = asyncio.Queue(CAPACITY)

    async def produce() -> None:
        for i in range(n):
            for branch in branches:
                await branch.put(i)
        for branch in branches:
            await branch.put(END)

    async def add_up() -> int:
        total = ends = 0
        while ends < FAN:
            x = await joined.get()
            if x is END:
                ends += 1
            else:
                total += x
        return total

    watch = Stopwatch()
    watch.start()
    tasks = [asyncio.create_task(produce())]
    tasks += [asyncio.create_task(_apply(same, branch, joined)) for branch in branches]
    total = await asyncio.create_task(add_up())
    watch.stop()
    await asyncio.gather(*tasks)
    verify("baseline fan", total, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


async def batched_fan(n: int) -> float:
    """W2 with lists of 64 as items; return nanoseconds per hop."""
    branches: list[Queue] = [asyncio.Queue(CAPACITY // BATCH) for _ in range(FAN)]
    joined: Queue = asyncio.Queue(CAPACITY // BATCH)

    async def produce() -> None:
        for xs in _lists(n, BATCH):
            for branch in branches:
                await branch.put(xs)
        for branch in branches:
            await branch.put(END)

    watch = Stopwatch()
    watch.start()
    tasks = [asyncio.create_task(produce())]
    tasks += [asyncio.create_task(_apply_lists(same, branch, joined)) for branch in branches]
    total = await asyncio.create_task(_total_lists(joined, FAN))
    watch.stop()
    await asyncio.gather(*tasks)
    verify("baseline batched fan", total, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


# ---- W3: ping ------------------------------------------------------------------------------------------------------


async def _relay(inbox: Queue, out: Queue) -> None:
    while True:
        await out.put(await inbox.get())


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def pings() -> AsyncIterator[Callable[[int], Awaitable[list[int]]]]:
    """W3: give a function that sends so many pings through three nodes, one at a time, and returns what each took in ns."""
    queues: list[Queue] = [asyncio.Queue(CAPACITY) for _ in range(CHAIN_HOPS)]
    tasks = [asyncio.create_task(_relay(queues[i], queues[i + 1])) for i in range(MIDDLE)]
    head, tail = queues[0], queues[-1]
    clock = time.perf_counter_ns

    async def block(count: int) -> list[int]:
        samples = []
        total = 0
        for i in range(count):
            began = clock()
            await head.put(i)
            total += await tail.get()
            samples.append(clock() - began)
        verify("baseline ping", total, triangle(count))
        return samples

    try:
        yield block
    finally:
        await _cancel(tasks)


@asynccontextmanager
async def ping() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W3: the same, and the function returns the median."""
    async with pings() as block:

        async def middle(count: int) -> float:
            return median(await block(count))

        yield middle


@asynccontextmanager
async def loop_pass() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """Give a function that returns the median in ns of what the event loop alone takes of a ping.

    A callback sets the future that a coroutine awaits: less no graph can do that answers in the next pass of the loop.
    """
    loop = asyncio.get_running_loop()
    create_future, call_soon, clock = loop.create_future, loop.call_soon, time.perf_counter_ns

    async def block(count: int) -> float:
        samples = []
        total = 0
        for i in range(count):
            began = clock()
            answer = create_future()
            call_soon(answer.set_result, i)
            total += await answer
            samples.append(clock() - began)
        verify("loop pass", total, triangle(count))
        return median(samples)

    yield block


# ---- W4 and W5: sparse graphs, and how long they take to build -----------------------------------------------------


def _chains(nodes: int, tail: Queue) -> tuple[list[Queue], list[asyncio.Task[None]]]:
    heads: list[Queue] = []
    tasks = []
    for _ in range(max(1, nodes // DEPTH)):
        queues: list[Queue] = [asyncio.Queue(CAPACITY) for _ in range(DEPTH)]
        heads.append(queues[0])
        queues.append(tail)
        tasks += [asyncio.create_task(_relay(queues[i], queues[i + 1])) for i in range(DEPTH)]
    return heads, tasks


@asynccontextmanager
async def sparse(nodes: int) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """W4: give a function that sends so many messages, each into a random head, and returns nanoseconds per hop."""
    tail: Queue = asyncio.Queue(CAPACITY)
    heads, tasks = _chains(nodes, tail)
    random = Random(1)
    for head in heads:
        await head.put(0)
        await tail.get()

    async def block(count: int) -> float:
        picks = [random.choice(heads) for _ in range(count)]
        total = 0
        watch = Stopwatch()
        watch.start()
        for i, head in enumerate(picks):
            await head.put(i)
            total += await tail.get()
        watch.stop()
        verify("baseline sparse", total, triangle(count))
        return watch.ns / (count * SPARSE_HOPS)

    try:
        yield block
    finally:
        await _cancel(tasks)


async def build(nodes: int) -> float:
    """W5: from nothing until the first message is through its chain; return nanoseconds per node."""
    watch = Stopwatch()
    watch.start()
    tail: Queue = asyncio.Queue(CAPACITY)
    heads, tasks = _chains(nodes, tail)
    await heads[0].put(7)
    got = await tail.get()
    watch.stop()
    await _cancel(tasks)
    verify("baseline build", got, 7)
    return watch.ns / nodes
