"""Slow and stuck consumers: one holds up what feeds it, and nothing else; then it goes on, or the run is stopped."""

# req: V2 V4 V8

from __future__ import annotations

import asyncio
from typing import Final

from meridian import SchedulerConfig, block, drop, graph, latest, sink, source, via
from stress.scenario import (
    CAPACITY,
    CHECKSUM,
    CONSERVATION,
    ERRORS,
    NO_LOSS,
    ORDER,
    REASON,
    WAITS,
    Round,
    Scenario,
)
from stress.traffic import Producer, Tally, edge_between

STUCK_S: Final = 600.0
"""Virtual seconds for which a consumer is stuck."""


async def play(round: Round) -> None:
    """A source feeds a consumer that is stuck for a while, or for good, and others; a second source has nothing to do with it."""
    random = round.random
    comes_back = random.random() < 0.5
    fed, free = Producer(round, 0, random.randint(100, 3_000)), Producer(round, 1, random.randint(100, 3_000))
    stuck, slow, losing, apart = (Tally(round) for _ in range(4))
    sticks_at = random.randint(1, fed.n)
    gate = asyncio.Event()
    longest_s = random.choice([0.0, 0.01])

    async def sticks(item: int) -> None:
        stuck.end(item)
        if stuck.calls == sticks_at:
            await gate.wait()

    async def is_slow(item: int) -> None:
        slow.end(item)
        if random.random() < 0.1:
            await asyncio.sleep(random.uniform(0, longest_s))

    first = source(fed.items, name="fed")
    policy = random.choice([drop, latest])
    made = graph(
        "stuck",
        first >> via(capacity=random.randint(1, 64), policy=block()) >> sink(sticks, name="stuck"),
        first >> via(capacity=random.randint(1, 64)) >> sink(is_slow, name="slow"),
        first >> via(capacity=random.randint(1, 64), policy=policy()) >> sink(losing.end, name="losing"),
        source(free.items, name="free")
        >> via(capacity=random.randint(1, 64))
        >> sink(apart.end, name="apart"),
    )
    round.account(edge_between(made, "fed", "stuck"), fed.count, stuck.count, exact=False)
    round.account(edge_between(made, "fed", "slow"), fed.count, slow.count, exact=False)
    round.account(edge_between(made, "fed", "losing"), fed.count, losing.count, blocks=False)
    round.account(edge_between(made, "free", "apart"), free.count, apart.count)

    scheduler = round.scheduler(made, config=SchedulerConfig(shutdown_timeout_s=1.0))

    def after_a_while() -> None:
        round.check(
            WAITS,
            apart.calls == free.n,
            f"{apart.calls} of {free.n} messages passed beside a stuck node",
        )
        round.look()
        if comes_back:
            gate.set()
        else:
            scheduler.shutdown()

    asyncio.get_running_loop().call_later(STUCK_S, after_a_while)
    report = round.ended(await scheduler.run_async(), reason="finished" if comes_back else "shutdown")
    lost = {edge.id: sum(edge.lost.values()) + edge.depth for edge in report.edges}
    parked = {node.name: node.parked for node in report.nodes}["fed"]
    for tally, name in ((stuck, "stuck"), (slow, "slow"), (losing, "losing")):
        tally.over(fed, lost=lost[edge_between(made, "fed", name).id] + parked)
    apart.over(free)


SCENARIO = Scenario(
    "stuck-consumers",
    "A consumer that is slow, or stuck, holds up what feeds it and nothing else; then it goes on, or the run is stopped.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
)
