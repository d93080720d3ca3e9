"""Ten thousand nodes: built, run through at some places, and gone again, with everything accounted for."""

# req: V7 V13

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Final

from meridian import Subgraph, node, sink, source
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
from stress.traffic import Producer, Tally

NODES: Final = 10_000


def same(item: int) -> int:
    """Pass it on."""
    return item


async def play(round: Round) -> None:
    """Chains of all lengths that meet in a few sinks; some have a source, the others never see a message."""
    random = round.random
    made = Subgraph("large")
    passing = node(same)
    ends = [Tally(round) for _ in range(8)]
    for i, tally in enumerate(ends):
        made.add_node(sink(tally.end, name=f"end{i}"))
    into: list[list[Producer]] = [[] for _ in ends]
    there, chains = len(ends), 0
    while there < NODES:
        length = min(random.choice([1, 10, 100, 1_000]), NODES - there)
        names = [f"{chains}-{i}" for i in range(length)]
        for name in names:
            made.add_node(passing, name)
        for before, name in pairwise(names):
            made.connect((before, "output"), (name, "input"), capacity=random.choice([1, 64, 1024]))
        end = random.randrange(len(ends))
        made.connect((names[-1], "output"), (f"end{end}", "input"))
        if random.random() < 0.5:
            producer = Producer(
                round, chains, random.randint(1, 20_000 // (length + 10)), looks=chains % 20 == 0
            )
            into[end].append(producer)
            round.account(made.edges[-1], producer.count, partial(ends[end].count, producer.id), exact=False)
            made.add_node(source(producer.items, name=f"source{chains}"))
            made.connect((f"source{chains}", "output"), (names[0], "input"))
            there += 1
        there += length
        chains += 1
    await round.run(made)
    for tally, fed in zip(ends, into, strict=True):
        tally.over(*fed)


SCENARIO = Scenario(
    "ten-thousand-nodes",
    "Ten thousand nodes are built, run through at some places, and are gone again, with everything accounted for.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
    seconds=(1.0, 10.0, 60.0),
)
