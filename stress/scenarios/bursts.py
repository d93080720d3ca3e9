"""Bursts: long silence, then more at once than the edges hold, from coroutines that wait and from such that don't."""

# req: V3 V4 V5 V7

from __future__ import annotations

import asyncio
from functools import partial

from meridian import Inlet, drop, graph, latest, node, sink, via
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
from stress.traffic import PER_PRODUCER, Producer, Tally, edge_between


async def play(round: Round) -> None:
    """Some inlets into one node, and on to one sink that gets everything and one that gets what its edge keeps."""
    random = round.random
    producers = [Producer(round, id, random.randint(200, 1_500)) for id in range(random.randint(1, 5))]
    middle, all_of_it, some = Tally(round), Tally(round), Tally(round)
    inlets = [Inlet(f"inlet{producer.id}") for producer in producers]
    passing, end = node(name="middle")(middle.see), sink(all_of_it.end, name="all")
    made = graph(
        "bursts",
        *(inlet >> via(capacity=random.randint(1, 40)) >> passing for inlet in inlets),
        passing >> via(capacity=random.randint(1, 40)) >> end,
        passing
        >> via(capacity=random.randint(1, 40), policy=random.choice([drop, latest])())
        >> sink(some.end, name="some"),
    )
    for inlet, producer in zip(inlets, producers, strict=True):
        arrived = partial(middle.count, producer.id)
        round.account(edge_between(made, inlet.name, "middle"), producer.count, arrived)
    round.account(edge_between(made, "middle", "all"), middle.count, all_of_it.count)
    round.account(edge_between(made, "middle", "some"), middle.count, some.count, blocks=False)

    async def feed(inlet: Inlet, producer: Producer) -> None:
        while producer.sent < producer.n:
            await asyncio.sleep(random.choice([0.0, 0.001, 1.0, 3_600.0]) * random.random())
            waits = random.random() < 0.5
            for _ in range(min(random.randint(1, 150), producer.n - producer.sent)):
                item = producer.id * PER_PRODUCER + producer.sent
                if waits:
                    await inlet.put(item)
                elif not inlet.try_put(item):
                    break
                producer.sent += 1
            round.look()  # the burst waits on the edges
        inlet.close()

    scheduler = round.scheduler(made)
    run = asyncio.create_task(scheduler.run_async())
    await asyncio.gather(*map(feed, inlets, producers))
    report = round.ended(await run)
    all_of_it.over(*producers)
    some.over(*producers, lost=sum(sum(edge.lost.values()) for edge in report.edges))


SCENARIO = Scenario(
    "bursts",
    "Long silence, then more at once than the edges hold, from coroutines that wait for room and from such that don't.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
)
