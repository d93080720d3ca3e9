"""Cancellation storm: whoever waits for room is cancelled at any moment, and tries again; handlers are cancelled in the middle."""

# req: V2 V4 V9

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from meridian import Inlet, Message, MessageType, Node, Port, PortDirection, graph, sink, source, via
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


class Impatient(Node):
    """Sends on what comes, giving up and beginning again whenever it waits for too long."""

    def __init__(self, tally: Tally, longest_s: float) -> None:
        super().__init__("impatient", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        self.tally = tally
        self.longest_s = longest_s
        self.sent = 0
        self.gave_up = 0

    async def _handle_message(self, port: str, msg: Message[Any]) -> None:
        del port
        item = self.tally.see(msg.payload)
        while True:
            try:
                async with asyncio.timeout(self.longest_s):
                    await self.send("out", Message(MessageType.DATA, item))
            except TimeoutError:
                self.gave_up += 1
                self.longest_s *= 1.5
            else:
                self.sent += 1
                return


async def play(round: Round) -> None:
    """Tasks put on inlets and are cancelled again and again; a node gives up sending; calls of a handler are cancelled."""
    random = round.random
    producers = [Producer(round, id, random.randint(50, 400)) for id in range(random.randint(1, 5))]
    others = Producer(round, 99, random.randint(100, 800))
    first, last, hit = Tally(round), Tally(round), Tally(round)
    impatient = Impatient(first, random.choice([0.0001, 0.001, 0.01]))
    pause_s = random.choice([0.0, 0.001, 0.01])
    inlets = [Inlet(f"inlet{producer.id}") for producer in producers]
    cancelled = 0
    in_work: asyncio.Future[None] | None = None

    async def slow(item: int) -> None:
        last.end(item)
        if random.random() < 0.2:
            await asyncio.sleep(random.random() * pause_s)

    async def target(item: int) -> None:
        nonlocal in_work
        hit.end(item)
        if random.random() < 0.3:
            in_work = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.002, _finish, in_work)
            await in_work

    made = graph(
        "cancellations",
        *(inlet >> via(capacity=random.randint(1, 8)) >> impatient for inlet in inlets),
        impatient >> via(capacity=random.randint(1, 8)) >> sink(slow, name="slow"),
        source(others.items, name="source")
        >> via(capacity=random.randint(1, 32))
        >> sink(target, name="target"),
    )
    for inlet, producer in zip(inlets, producers, strict=True):
        arrived = partial(first.count, producer.id)
        round.account(edge_between(made, inlet.name, "impatient"), producer.count, arrived, exact=False)
    round.account(edge_between(made, "impatient", "slow"), lambda: impatient.sent, last.count, exact=False)
    round.account(edge_between(made, "source", "target"), others.count, hit.count, exact=False)

    async def put(inlet: Inlet, producer: Producer) -> None:
        while producer.sent < producer.n:
            await inlet.put(producer.id * PER_PRODUCER + producer.sent)
            producer.sent += 1

    async def feed(inlet: Inlet, producer: Producer) -> None:
        patience_s = random.choice([0.0, 0.0005, 0.005])
        while producer.sent < producer.n:
            putting = asyncio.create_task(put(inlet, producer))
            await asyncio.wait([putting], timeout=random.random() * patience_s)
            for _ in range(random.randint(0, 3)):
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait([putting])
            patience_s = patience_s * 1.1 + 1e-5
        inlet.close()

    async def strike() -> None:
        nonlocal cancelled
        while hit.calls < others.n:
            await asyncio.sleep(random.random() * 0.003)
            if in_work is not None and not in_work.done():
                in_work.cancel()
                cancelled += 1

    scheduler = round.scheduler(made)
    run = asyncio.create_task(scheduler.run_async())
    striking = asyncio.create_task(strike())
    await asyncio.gather(*map(feed, inlets, producers))
    report = await run
    await striking
    round.ended(report, errors=cancelled)
    last.over(*producers)
    hit.over(others)


def _finish(work: asyncio.Future[None]) -> None:
    if not work.done():
        work.set_result(None)


SCENARIO = Scenario(
    "cancellation-storm",
    "Whoever waits for room is cancelled at any moment and tries again, and calls of a handler are cancelled in the middle.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
)
