"""What the programs of the peers share."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from random import Random

from asv_bench.shape import DEPTH, MIDDLE, SPARSE_HOPS, Stopwatch, triangle, verify

SPARSE_NODES = 1_000


def each_anew(
    flow: Callable[[int], Awaitable[float]],
) -> Callable[[], AbstractAsyncContextManager[Callable[[int], Awaitable[float]]]]:
    """Open a flow that is built for each sample."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Callable[[int], Awaitable[float]]]:
        yield flow

    return open


def each_anew_without_loop(
    flow: Callable[[int], float],
) -> Callable[[], AbstractContextManager[Callable[[int], float]]]:
    """Open a flow that is built for each sample and needs no loop, or has one of its own."""

    @contextmanager
    def open() -> Iterator[Callable[[int], float]]:
        yield flow

    return open


class Total:
    """A sum that is called with each number."""

    def __init__(self) -> None:
        self.sum = 0
        self.count = 0

    def __call__(self, x: int) -> None:
        self.sum += x
        self.count += 1


Chain = Callable[[int, Total], Callable[[int], object]]
"""Builds so many nodes in a row with a total behind them, and returns what pushes a number through, which has arrived then."""


def pings_through(
    package: str, chain: Chain
) -> Callable[[], AbstractContextManager[Callable[[int], list[int]]]]:
    """Open a chain that one number at a time is pushed through."""

    @contextmanager
    def open() -> Iterator[Callable[[int], list[int]]]:
        total = Total()
        push = chain(MIDDLE, total)
        clock = time.perf_counter_ns

        def block(count: int) -> list[int]:
            samples = []
            before = total.sum
            for i in range(count):
                began = clock()
                push(i)
                samples.append(clock() - began)
            verify(f"{package} ping", total.sum - before, triangle(count))
            return samples

        yield block

    return open


def sparse_through(
    package: str, chain: Chain
) -> Callable[[], AbstractContextManager[Callable[[int], float]]]:
    """Open many chains, each number is pushed through one that is picked at random."""

    @contextmanager
    def open() -> Iterator[Callable[[int], float]]:
        total = Total()
        pushes = [chain(DEPTH, total) for _ in range(SPARSE_NODES // DEPTH)]
        random = Random(1)
        for push in pushes:
            push(0)

        def block(count: int) -> float:
            picks = [random.choice(pushes) for _ in range(count)]
            before = total.sum
            watch = Stopwatch()
            watch.start()
            for i, push in enumerate(picks):
                push(i)
            watch.stop()
            verify(f"{package} sparse", total.sum - before, triangle(count))
            return watch.ns / (count * SPARSE_HOPS)

        yield block

    return open
