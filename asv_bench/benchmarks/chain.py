"""W1: a source, three nodes, a sum; per hop."""

import asyncio

from asv_bench import baseline

from ._engine import OnEngine, per_engine

SIZES = {
    "plain": 50_000,
    "emit": 30_000,
    "class": 20_000,
    "envelope": 20_000,
    "async": 20_000,
    "suspending": 2_000,
}


class Chain(OnEngine):
    """By style of node."""

    params = per_engine(SIZES)
    param_names = ("engine", "style")

    def time_chain(self, engine: str, style: str) -> None:
        self.took(asyncio.run(self.workloads.chain(SIZES[style], style)))


class Capacity1(OnEngine):
    """A switch per message."""

    def time_chain(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.chain(5_000, capacity=1)))


class Slice1(OnEngine):
    """One message at a time for each node."""

    def time_chain(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.chain(5_000, slice=1)))


class Native(OnEngine):
    """Ready-made nodes that call nothing written in Python."""

    def time_slices_of_64(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.native(5_000)))

    def time_slices_of_1(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.native(2_000, slice=1)))


class ToAsyncio(OnEngine):
    """How many times as fast as the pipeline by hand, both sides one after the other."""

    unit = "x"

    def track_plain_ratio(self, engine: str) -> float:
        chain = self.workloads.chain
        return asyncio.run(_ratio(8, lambda: chain(30_000), lambda: baseline.chain(6_000)))

    def track_batched_ratio(self, engine: str) -> float:
        chain = self.workloads.chain
        return asyncio.run(_ratio(8, lambda: chain(30_000), lambda: baseline.batched(40_000)))


async def _ratio(quads, ours, base) -> float:
    from statistics import median

    ratios = []
    for _ in range(quads):
        a, b, c, d = await ours(), await base(), await base(), await ours()
        ratios.append((b + c) / (a + d))
    return median(ratios)
