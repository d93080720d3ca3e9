"""A graph full of canaries: as payloads that wait, fail, are refused and get lost, in every hook's error, and as names.

One name, `PLANTED`, is no secret to any rule. It shows up wherever names do, so a hunter that finds it is known to look.
"""

import asyncio
import time
from itertools import count

from meridian import (
    Message,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Subgraph,
    drop,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian._tests.redaction.canaries import SHAPES, corpus, failing

PLANTED = "planted_leak_7f3a91"

CANARIES = corpus()
ITEMS = [list(SHAPES.values())[n % len(SHAPES)](canary.text) for n, canary in enumerate(CANARIES)]
TEXTS = [canary.text for canary in CANARIES]


class Fails(Node):
    """Fails with a canary in every hook that it can fail in."""

    def __init__(self, name: str, hook: str) -> None:
        super().__init__(name, [Port("in", PortDirection.INPUT, PortSpec("in", object))])
        self.hook = hook
        self.texts = iter(TEXTS * 1000)

    def _fail(self, hook: str) -> None:
        if hook == self.hook:
            raise failing(next(self.texts))

    def on_start(self) -> None:
        self._fail("on_start")

    def on_message(self, port: str, msg: Message) -> None:
        self._fail("on_message")

    def on_tick(self) -> None:
        self._fail("on_tick")

    def on_stop(self) -> None:
        self._fail("on_stop")


async def for_ever():
    for n in count():
        yield ITEMS[n % len(ITEMS)]
        await asyncio.sleep(
            0 if n < len(ITEMS) else 0.05
        )  # each of them soon, and then enough to be seen at work


def build() -> Subgraph:
    """Everything at once; says `ready` on stdout once each canary has been through it."""
    seen = count(1)

    @node(name=PLANTED)
    def planted(item: object) -> object:
        if next(seen) == len(ITEMS):
            print(f"ready {PLANTED}", flush=True)
        raise failing(repr(item))

    async def never(item: object) -> None:
        await asyncio.Event().wait()

    async def planted_leak_7f3a91_sleeps(item: object) -> None:
        time.sleep(1)

    def numbers(n: int) -> None:
        raise AssertionError

    parts = [
        source(for_ever(), name="feed") >> planted >> sink(lambda item: None, name="end"),
        source(ITEMS, name="kept") >> via(capacity=50) >> sink(never, name="keeps"),
        source(for_ever(), name="spilt") >> via(capacity=5, policy=drop()) >> sink(never, name="spills"),
        source(for_ever(), name="wrong") >> sink(numbers, name="numbers"),
    ]
    for hook in ("on_start", "on_message", "on_tick", "on_stop"):
        parts.append(source(for_ever(), name=f"feed {hook}") >> Fails(f"fails {hook}", hook))
    for number, text in enumerate(TEXTS[::25]):
        # With a number each, as commands tell nodes apart by what is left of their names.
        parts.append(
            source([1], name=f"from {number} {text}") >> sink(lambda item: None, name=f"{number} {text}")
        )
    parts.append(source([], name="nothing") >> sink(planted_leak_7f3a91_sleeps, name=f"{PLANTED} sleeps"))
    return graph("haunted", *parts)
