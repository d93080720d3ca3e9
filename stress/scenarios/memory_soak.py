"""Memory soak: large messages through graphs of all kinds of nodes, made anew and run again, and memory has to stay flat."""

# req: V14

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from meridian import Message, MessageType, Node, Port, PortDirection, drop, graph, node, sink, source, via
from stress.scenario import (
    CAPACITY,
    CHECKSUM,
    CONSERVATION,
    ERRORS,
    MEMORY,
    NO_LOSS,
    REASON,
    WAITS,
    Round,
    Scenario,
)

BYTES: Final = 32_768
"""Of each message: one that stays behind for 10,000 that pass is 3.3 bytes a message."""

BYTES_LEFT: Final = 1.0
"""Bytes that a message may leave behind: one message in 32,000. What pages alone do to the readings of thirty
rounds is a third of it."""

MESSAGES: Final = 2_000
"""Of each round, so that there are readings enough in a few seconds."""


class Forward(Node):
    """Passes on whatever comes, in the style of version 1."""

    def __init__(self) -> None:
        super().__init__("forward", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        del port
        self.emit("out", msg)


async def play(round: Round) -> None:
    """One graph, made anew: raw items and envelopes, plain and asynchronous nodes, one edge that loses."""
    sent = {"raw": 0, "enveloped": 0}
    seen = {"raw": 0, "enveloped": 0}
    weight = {"raw": 0}

    def raw() -> Iterator[bytes]:
        for i in range(MESSAGES - MESSAGES // 5):
            sent["raw"] += 1
            if i % 500 == 0:
                round.look_soon()
            yield b"x" * BYTES  # written to, as zeros would not be: those take no memory

    def enveloped() -> Iterator[Message[bytes]]:
        for i in range(MESSAGES // 5):
            sent["enveloped"] += 1
            yield Message(MessageType.DATA, b"x" * BYTES, {"n": i})

    async def suspending(item: bytes) -> bytes:
        if len(item) != BYTES:
            raise ValueError("a message of another size")
        if round.random.random() < 0.01:
            await asyncio.sleep(0)
        return item

    def end(item: bytes) -> None:
        seen["raw"] += 1
        weight["raw"] += len(item)

    def end_of_envelopes(item: bytes) -> None:
        del item
        seen["enveloped"] += 1

    passing = node(name="suspending")(suspending)
    last = sink(end, name="end")
    made = graph(
        "soak",
        source(raw, name="raw") >> via(capacity=16) >> passing >> via(capacity=16) >> last,
        source(enveloped, name="enveloped")
        >> Forward()
        >> via(capacity=8, policy=drop())
        >> sink(end_of_envelopes, name="some"),
    )
    for edge in made.edges:
        if edge.source_node == "raw":
            round.account(edge, lambda: sent["raw"], lambda: seen["raw"], exact=False)
        elif edge.target_node == "some":
            round.account(
                edge, lambda: sent["enveloped"], lambda: seen["enveloped"], exact=False, blocks=False
            )
    await round.run(made)
    round.arrived(sent["raw"] + sent["enveloped"])
    round.check(
        CHECKSUM,
        weight["raw"] == sent["raw"] * BYTES,
        f"{weight['raw']} bytes arrived of {sent['raw']} messages of {BYTES}",
    )


SCENARIO = Scenario(
    "memory-soak",
    "Large messages pass through all kinds of nodes, in graphs that are made anew each round, and memory has to stay flat.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, CHECKSUM, WAITS, REASON, ERRORS, MEMORY),
    leaves=BYTES_LEFT,
    least=30,
    seconds=(3.0, 20.0, 300.0),
)
