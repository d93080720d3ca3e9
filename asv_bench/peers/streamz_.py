"""The workloads in streamz: direct calls, or a buffer before each node."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from streamz import Stream

from asv_bench.peers.flows import (
    SPARSE_NODES,
    Total,
    each_anew,
    each_anew_without_loop,
    pings_through,
    sparse_through,
)
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


def headed(nodes: int, total: Total, fn: Callable[[int], int] = same) -> Stream:
    head = end = Stream()
    for _ in range(nodes):
        end = end.map(fn)
    end.sink(total)
    return head


def chain(n: int, fn: Callable[[int], int] = same) -> float:
    total = Total()
    head = headed(MIDDLE, total, fn)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        head.emit(i)
    watch.stop()
    verify("streamz chain", total.sum, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


def fan(n: int) -> float:
    total = Total()
    head = Stream()
    first, *others = [head.map(same) for _ in range(FAN)]
    first.union(*others).sink(total)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        head.emit(i)
    watch.stop()
    verify("streamz fan", total.sum, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


def pushed(nodes: int, total: Total) -> Callable[[int], object]:
    return headed(nodes, total).emit


# ---- with buffers --------------------------------------------------------------------------------------------------


def buffered(nodes: int, total: Callable[[int], None], fn: Callable[[int], int] = same) -> Stream:
    head = end = Stream(asynchronous=True)
    for _ in range(nodes):
        end = end.buffer(CAPACITY).map(fn)
    end.buffer(CAPACITY).sink(total)
    return head


async def buffered_chain(n: int, fn: Callable[[int], int] = same) -> float:
    total = Total()
    head = buffered(MIDDLE, total, fn)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        await head.emit(i)
    while total.count < n:  # noqa: ASYNC110  # a sink tells nobody that it is done
        await asyncio.sleep(0)
    watch.stop()
    verify("streamz chain with buffers", total.sum, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


async def buffered_fan(n: int) -> float:
    total = Total()
    head = Stream(asynchronous=True)
    first, *others = [head.buffer(CAPACITY).map(same) for _ in range(FAN)]
    first.union(*others).buffer(CAPACITY).sink(total)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        await head.emit(i)
    while total.count < FAN * n:  # noqa: ASYNC110  # as above
        await asyncio.sleep(0)
    watch.stop()
    verify("streamz fan with buffers", total.sum, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


class Reply:
    """A sink that answers whoever sent the message."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def __call__(self, x: int) -> None:
        self.answer.set_result(x)

    async def to(self, head: Stream, x: int) -> int:
        self.answer = asyncio.get_running_loop().create_future()
        await head.emit(x)
        return await self.answer


@asynccontextmanager
async def buffered_pings() -> AsyncIterator[Callable[[int], Awaitable[list[int]]]]:
    reply = Reply()
    head = buffered(MIDDLE, reply)
    clock = time.perf_counter_ns

    async def block(count: int) -> list[int]:
        samples = []
        total = 0
        for i in range(count):
            began = clock()
            total += await reply.to(head, i)
            samples.append(clock() - began)
        verify("streamz ping with buffers", total, triangle(count))
        return samples

    yield block


@asynccontextmanager
async def buffered_sparse() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    reply = Reply()
    heads = [buffered(DEPTH, reply) for _ in range(SPARSE_NODES // DEPTH)]
    random = Random(1)
    for head in heads:
        await reply.to(head, 0)

    async def block(count: int) -> float:
        picks = [random.choice(heads) for _ in range(count)]
        total = 0
        watch = Stopwatch()
        watch.start()
        for i, head in enumerate(picks):
            total += await reply.to(head, i)
        watch.stop()
        verify("streamz sparse with buffers", total, triangle(count))
        return watch.ns / (count * SPARSE_HOPS)

    yield block


FORMS = {
    "": {
        "W1": each_anew_without_loop(chain),
        "W2": each_anew_without_loop(fan),
        "W3": pings_through("streamz", pushed),
        "W4": sparse_through("streamz", pushed),
        "work": each_anew_without_loop(lambda n: chain(n, work)),
    },
    "buffers": {
        "W1": each_anew(buffered_chain),
        "W2": each_anew(buffered_fan),
        "W3": buffered_pings,
        "W4": buffered_sparse,
        "work": each_anew(lambda n: buffered_chain(n, work)),
    },
}
