"""Sustained overload: producers are quicker than the consumer all the time, behind each policy in turn."""

# req: V3 V4 V7 V14

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from meridian import block, coalesce, drop, graph, latest, node, sink, source, via
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
from stress.traffic import Producer, Tally, merge

POLICIES: Final[dict[str, Callable[[], Any]]] = {
    "block": block,
    "drop": drop,
    "latest": latest,
    "coalesce": lambda: coalesce(merge),
}


async def play(round: Round) -> None:
    """Several producers through a row of nodes to one slow consumer, behind an edge of each policy in turn."""
    random = round.random
    policy = list(POLICIES)[round.seed % len(POLICIES)]
    producers = [Producer(round, id, random.randint(500, 4_000)) for id in range(random.randint(1, 4))]
    row = [Tally(round) for _ in range(random.randint(1, 3))]
    last = Tally(round)
    merging = policy == "coalesce"
    pause_every = random.randint(20, 200)

    async def suspending(item: int) -> int:
        await asyncio.sleep(0)
        return row[-1].see(item)

    async def slow(item: Any) -> None:
        (last.end_list if merging else last.end)(item)
        if last.calls % pause_every == 0:
            await asyncio.sleep(0.001)

    asynchronous = random.random() < 0.5
    functions: list[Any] = [tally.see for tally in row[:-1]]
    functions.append(suspending if asynchronous else row[-1].see)
    wrapped = 0

    def wrap(item: int) -> list[int]:
        nonlocal wrapped
        wrapped += 1
        return [item]

    if merging:
        functions.append(wrap)
    nodes = [node(name=f"node{i}")(function) for i, function in enumerate(functions)]

    def room() -> int:
        return random.randint(1, 64)

    flow: Any = nodes[0]
    for each in nodes[1:]:
        flow = flow >> via(capacity=room()) >> each
    flow = flow >> via(capacity=room(), policy=POLICIES[policy]()) >> sink(slow, name="slow")
    flows = [flow]
    for producer in producers:
        items: Any = producer.items
        if random.random() < 0.3:

            def items(producer: Producer = producer) -> Any:
                return producer.later(producer.items(), 0.01, 0.01)

        flows.append(source(items, name=f"source{producer.id}") >> via(capacity=room()) >> nodes[0])
    made = graph("overload", *flows)

    for edge in made.edges:
        if edge.target_node == "slow":
            sent = (lambda: wrapped) if merging else row[-1].count
            round.account(edge, sent, last.count, exact=False, blocks=policy == "block")
        elif edge.source_node.startswith("source"):
            producer = producers[int(edge.source_node.removeprefix("source"))]
            round.account(edge, producer.count, partial(row[0].count, producer.id), exact=False)
        elif edge.target_node == f"node{len(row)}":
            round.account(edge, row[-1].count, lambda: wrapped, exact=False)
        else:
            i = int(edge.target_node.removeprefix("node"))
            plain = not (asynchronous and i == len(row) - 1)
            round.account(edge, row[i - 1].count, row[i].count, exact=plain)
    report = await round.run(made)
    lost = sum(sum(edge.lost.values()) for edge in report.edges)
    last.over(*producers, lost=lost)


SCENARIO = Scenario(
    "overload",
    "Producers are quicker than the consumer all the time, behind an edge that blocks, drops, keeps the latest or coalesces.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
    least=len(POLICIES),
)
