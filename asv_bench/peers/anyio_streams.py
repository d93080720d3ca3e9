"""The workloads through anyio's memory object streams, on asyncio."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Any

import anyio

from asv_bench.peers.flows import SPARSE_NODES, each_anew
from asv_bench.shape import (
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


def stream() -> tuple[Any, Any]:
    return anyio.create_memory_object_stream[int](CAPACITY)


async def relay(inbox: Any, out: Any, fn: Callable[[int], int] = same) -> None:
    async with inbox, out:
        async for x in inbox:
            await out.send(fn(x))


async def total_of(inbox: Any) -> int:
    total = 0
    async with inbox:
        async for x in inbox:
            total += x
    return total


async def chain(n: int, fn: Callable[[int], int] = same) -> float:
    streams = [stream() for _ in range(CHAIN_HOPS)]

    async def produce(out: Any) -> None:
        async with out:
            for i in range(n):
                await out.send(i)

    watch = Stopwatch()
    watch.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce, streams[0][0])
        for (_, inbox), (out, _) in pairwise(streams):
            tasks.start_soon(relay, inbox, out, fn)
        total = await total_of(streams[-1][1])
    watch.stop()
    verify("anyio chain", total, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


async def fan(n: int) -> float:
    branches = [stream() for _ in range(FAN)]
    join, joined = stream()

    async def produce() -> None:
        for i in range(n):
            for out, _ in branches:
                await out.send(i)
        for out, _ in branches:
            await out.aclose()

    watch = Stopwatch()
    watch.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        for _, inbox in branches:
            tasks.start_soon(relay, inbox, join.clone())
        await join.aclose()
        total = await total_of(joined)
    watch.stop()
    verify("anyio fan", total, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


@asynccontextmanager
async def pings() -> AsyncIterator[Callable[[int], Awaitable[list[int]]]]:
    streams = [stream() for _ in range(MIDDLE + 1)]
    head, tail = streams[0][0], streams[-1][1]
    clock = time.perf_counter_ns

    async def block(count: int) -> list[int]:
        samples = []
        total = 0
        for i in range(count):
            began = clock()
            await head.send(i)
            total += await tail.receive()
            samples.append(clock() - began)
        verify("anyio ping", total, triangle(count))
        return samples

    async with anyio.create_task_group() as tasks:
        for (_, inbox), (out, _) in pairwise(streams):
            tasks.start_soon(relay, inbox, out)
        yield block
        await head.aclose()
        await tail.aclose()


@asynccontextmanager
async def sparse() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    join, tail = stream()
    heads = []
    random = Random(1)

    async def block(count: int) -> float:
        picks = [random.choice(heads) for _ in range(count)]
        total = 0
        watch = Stopwatch()
        watch.start()
        for i, head in enumerate(picks):
            await head.send(i)
            total += await tail.receive()
        watch.stop()
        verify("anyio sparse", total, triangle(count))
        return watch.ns / (count * SPARSE_HOPS)

    async with anyio.create_task_group() as tasks:
        for _ in range(SPARSE_NODES // DEPTH):
            streams = [stream() for _ in range(DEPTH)]
            heads.append(streams[0][0])
            outs = [out for out, _ in streams[1:]] + [join.clone()]
            for (_, inbox), out in zip(streams, outs, strict=True):
                tasks.start_soon(relay, inbox, out)
        for head in heads:
            await head.send(0)
            await tail.receive()
        yield block
        for head in heads:
            await head.aclose()
        await join.aclose()
        await tail.aclose()


FORMS = {
    "": {
        "W1": each_anew(chain),
        "W2": each_anew(fan),
        "W3": pings,
        "W4": sparse,
        "work": each_anew(lambda n: chain(n, work)),
    }
}
