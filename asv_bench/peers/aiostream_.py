"""The chain in aiostream: operators that pull from one another."""

from collections.abc import Callable

from aiostream import pipe, stream

from asv_bench.peers.flows import each_anew
from asv_bench.shape import CHAIN_HOPS, MIDDLE, Stopwatch, same, triangle, verify, work


async def chain(n: int, fn: Callable[[int], int] = same) -> float:
    numbers = stream.range(n)
    for _ in range(MIDDLE):
        numbers |= pipe.map(fn)
    total = 0
    watch = Stopwatch()
    watch.start()
    async with numbers.stream() as items:
        async for x in items:
            total += x
    watch.stop()
    verify("aiostream chain", total, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


FORMS = {"": {"W1": each_anew(chain), "work": each_anew(lambda n: chain(n, work))}}
