"""Moving limits: capacities and bands change while messages flow, and all edges share a budget of bytes."""

# req: V3 V6 V14

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from meridian import PriorityBand, graph, node, sink, source, via
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


async def play(round: Round) -> None:
    """Two sources into a row of nodes and two sinks; every few messages some edge gets another capacity or band."""
    random = round.random
    producers = [Producer(round, id, random.randint(200, 2_000)) for id in range(2)]
    row = [Tally(round) for _ in range(random.randint(1, 3))]
    ends = [Tally(round), Tally(round)]
    largest = random.randint(1, 100)
    # A step of the budget for each edge of the longest way must have room for what a node emits, on two edges at the end.
    least = (len(row) + 1) * 2 * largest
    budget = random.choice([None, random.randint(least, 10 * least)])

    def size(item: int) -> int:
        return 1 + item % largest

    def edge(limited: bool) -> Any:
        max_bytes = random.choice([None, random.randint(largest, 10 * largest)]) if limited else None
        return via(capacity=random.randint(1, 64), max_bytes=max_bytes, size=size)

    async def slow(item: int) -> None:
        ends[1].end(item)
        if random.random() < 0.05:
            await asyncio.sleep(0.001)

    nodes = [node(name=f"node{i}")(tally.see) for i, tally in enumerate(row)]
    flow: Any = nodes[0]
    for each in nodes[1:]:
        flow = flow >> edge(random.random() < 0.5) >> each
    made = graph(
        "limits",
        flow >> edge(random.random() < 0.5) >> sink(ends[0].end, name="quick"),
        nodes[-1] >> edge(random.random() < 0.5) >> sink(slow, name="slow"),
        *(source(each.items, name=f"source{each.id}") >> edge(True) >> nodes[0] for each in producers),
        max_bytes=budget,
    )
    for producer in producers:
        seen = partial(row[0].count, producer.id)
        round.account(edge_between(made, f"source{producer.id}", "node0"), producer.count, seen)
    for i in range(1, len(row)):
        round.account(edge_between(made, f"node{i - 1}", f"node{i}"), row[i - 1].count, row[i].count)
    last = f"node{len(row) - 1}"
    round.account(edge_between(made, last, "quick"), row[-1].count, ends[0].count)
    round.account(edge_between(made, last, "slow"), row[-1].count, ends[1].count, exact=False)
    scheduler = round.scheduler(made)

    async def change() -> None:
        while True:
            await asyncio.sleep(random.random() * 0.002)
            changed = random.choice(round.accounts)
            if random.random() < 0.5:
                capacity = random.randint(1, 128)
                changed.most = max(changed.most, capacity)
                scheduler.set_capacity(changed.id, capacity)
            else:
                scheduler.set_priority(changed.id, random.choice(list(PriorityBand)))
            round.look()

    changing = asyncio.create_task(change())
    try:
        round.ended(await scheduler.run_async())
    finally:
        changing.cancel()
    for tally in ends:
        tally.over(*producers)


SCENARIO = Scenario(
    "moving-limits",
    "Capacities and bands change while messages flow, and all edges share a budget of bytes.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
)
