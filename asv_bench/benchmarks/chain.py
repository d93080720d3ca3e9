"""W1: a source, three nodes, a sum."""

import asyncio

from asv_bench import baseline, workloads

SIZES = {
    "plain": 50_000,
    "emit": 30_000,
    "class": 20_000,
    "envelope": 20_000,
    "async": 20_000,
    "suspending": 2_000,
}


class Chain:
    """By style of node."""

    params = tuple(SIZES)
    param_names = ("style",)
    number = 1

    def time_chain(self, style: str) -> None:
        asyncio.run(workloads.chain(SIZES[style], style))


class Capacity1:
    """A switch per message."""

    number = 1

    def time_chain(self) -> None:
        asyncio.run(workloads.chain(5_000, capacity=1))


class ToAsyncio:
    """How many times as fast as the pipeline by hand, both sides one after the other."""

    unit = "x"

    def track_plain_ratio(self) -> float:
        return asyncio.run(_ratio(8, lambda: workloads.chain(50_000), lambda: baseline.chain(15_000)))

    def track_batched_ratio(self) -> float:
        return asyncio.run(_ratio(8, lambda: workloads.chain(50_000), lambda: baseline.batched(100_000)))


async def _ratio(quads, ours, base) -> float:
    from statistics import median

    ratios = []
    for _ in range(quads):
        a, b, c, d = await ours(), await base(), await base(), await ours()
        ratios.append((b + c) / (a + d))
    return median(ratios)
