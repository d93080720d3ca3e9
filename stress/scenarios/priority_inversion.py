"""Priority inversion: a message in a high band, and CONTROL on a full edge, against a flood in the others."""

# req: V6

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

from meridian import Message, MessageType, Node, PriorityBand, SchedulerConfig, Subgraph, sink, source
from meridian.core.policies import PutResult, block
from stress.scenario import (
    CAPACITY,
    CONSERVATION,
    CONTROL,
    ERRORS,
    FAIRNESS,
    NO_LOSS,
    REASON,
    WAITS,
    Round,
    Scenario,
)
from stress.traffic import edge_between


async def play(round: Round) -> None:
    """Floods, and one message at a time in a band that is otherwise empty; then commands on the edges of the floods."""
    await bands(round)
    round.accounts.clear()
    await commands(round)


async def bands(round: Round) -> None:
    """Sources flood two bands; a message in the third is served before the bound is over."""
    random = round.random
    ratio = (random.randint(1, 9), random.randint(1, 9), random.randint(1, 9))
    lone, *flooded = random.sample(list(PriorityBand), 3)
    slices = 0  # one message each, so each call of a handler and each item of a source is one
    put_at: int | None = None
    left = random.randint(50, 200)
    arrived = sent = 0
    made = Subgraph("bands")

    def items() -> Any:
        nonlocal slices
        for _ in range(100_000):
            slices += 1
            yield slices
            if left == 0:
                return

    def flood(item: int) -> None:
        nonlocal slices, put_at, left, sent
        del item
        slices += 1
        if put_at is None and left and random.random() < 0.2:
            edge = edge_between(made, "by hand", "lone")
            if edge.try_put(slices, block()) is PutResult.OK:
                put_at, left, sent = slices, left - 1, sent + 1
        if slices % 500 == 0:
            round.look_soon()

    def alone(item: int) -> None:
        nonlocal put_at, arrived
        assert put_at is not None  # it is put right before
        arrived += 1
        in_line = len(streams) if lone is PriorityBand.NORMAL else 0
        bound = (in_line + 1) * sum(ratio) + in_line
        round.check(
            FAIRNESS,
            slices - put_at <= bound,
            f"ratio {ratio}: {lone.name} waited for {slices - put_at} slices of others, the bound is {bound}",
        )
        put_at = None
        del item

    made.add_node(Node.with_ports("by hand", [], ["out"]))
    made.add_node(sink(alone, name="lone"))
    made.connect(("by hand", "out"), ("lone", "input"))
    # Sources take their turns in NORMAL, whatever the band of their edge: there, the message waits in line behind them.
    streams = {f"{band.name.lower()}{i}": band for band in flooded for i in range(random.randint(1, 4))}
    for name in streams:
        made.add_node(source(items, name=f"to {name}"))
        made.add_node(sink(flood, name=name))
        made.connect((f"to {name}", "output"), (name, "input"), capacity=random.randint(1, 8))
    scheduler = round.scheduler(made, config=SchedulerConfig(max_batch_per_node=1, fairness_ratio=ratio))
    lone_edge = edge_between(made, "by hand", "lone")
    scheduler.set_priority(lone_edge.id, lone)
    for name, band in streams.items():
        scheduler.set_priority(edge_between(made, f"to {name}", name).id, band)
    round.account(lone_edge, lambda: sent, lambda: arrived)
    round.ended(await scheduler.run_async())
    round.arrived(slices)


async def commands(round: Round) -> None:
    """CONTROL is put on edges that are full of data, or nearly, and overtakes it."""
    random = round.random
    batch = random.choice([1, 4, 16, 64])
    config = SchedulerConfig(max_batch_per_node=batch)
    made = Subgraph("commands")
    n = random.randint(1, 5)
    handled = 0
    seen = [0] * n
    sent = [0] * n
    commands_sent, obeyed, refused = 0, 0, 0
    left = random.randint(50, 200)

    def items(i: int) -> Any:
        for number in count():
            sent[i] += 1
            yield number
            if left == 0 or number > 50_000:
                return

    def handler(i: int) -> Any:
        def handle(message: Message[Any]) -> None:
            nonlocal handled, obeyed, commands_sent, left, refused
            seen[i] += 1
            if message.type is MessageType.CONTROL:
                obeyed += 1
                put_at, ahead = message.payload
                waited = handled - put_at
                # The rest of the slice in hand, one more, and one each time those ahead have used up their band's share.
                slices = 2 + ahead // config.fairness_ratio[0]
                round.check(
                    CONTROL,
                    waited <= slices * batch,
                    f"slices of {batch}, and with {ahead} ahead it waited for {waited} messages",
                )
                return
            handled += 1
            if left and random.random() < 0.02:
                to = random.randrange(n)
                command = Message(MessageType.CONTROL, (handled, commands_sent - obeyed))
                result = edge_between(made, f"source{to}", f"sink{to}").try_put(command)
                if result is PutResult.OK:
                    sent[to] += 1
                    commands_sent, left = commands_sent + 1, left - 1
                else:
                    round.check(CONTROL, result is PutResult.BLOCKED, f"a full edge answered {result.name}")
                    refused += 1
                    left = max(left - refused % 2, 0)
            if handled % 500 == 0:
                round.look_soon()

        return handle

    for i in range(n):
        made.add_node(source(partial(items, i), name=f"source{i}"))
        made.add_node(sink(handler(i), name=f"sink{i}"))
        made.connect((f"source{i}", "output"), (f"sink{i}", "input"), capacity=random.randint(1, 256))
    for i in range(n):
        edge = edge_between(made, f"source{i}", f"sink{i}")
        round.account(edge, partial(sent.__getitem__, i), partial(seen.__getitem__, i))
    await round.run(made, config=config)
    round.check(CONTROL, obeyed == commands_sent, f"{obeyed} of {commands_sent} arrived")
    round.arrived(handled + obeyed)


SCENARIO = Scenario(
    "priority-inversion",
    "A message in a band that is otherwise empty, and CONTROL on a full edge, against floods in all the others.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, FAIRNESS, CONTROL, WAITS, REASON, ERRORS),
    least=4,
)
