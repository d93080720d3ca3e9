"""Other tasks of the same loop get their turns, however much a graph has to do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meridian import Scheduler, graph, node, sink, source
from meridian.runtime.run import SLICE_MESSAGES

pytestmark = pytest.mark.req("V2")

MESSAGES = 20_000


async def passes_during(made: Any) -> int:
    """Run a graph beside a task that only yields; return how often that had its turn."""
    passes = 0
    scheduler = Scheduler()
    scheduler.register(made)

    async def probe() -> None:
        nonlocal passes
        while True:
            passes += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(probe())
    await scheduler.run_async()
    beside.cancel()
    return passes


@node
def plain(x: int) -> int:
    return x


@node
async def asynchronous(x: int) -> int:
    return x


@node
async def suspends(x: int) -> int:
    await asyncio.sleep(0)
    return x


@node
def stream(x: int):
    yield x


async def items() -> Any:
    for x in range(MESSAGES):
        yield x


@pytest.mark.parametrize("items_", [lambda: range(MESSAGES), items], ids=["iterable", "asynchronous"])
@pytest.mark.parametrize("kind", [plain, asynchronous, suspends, stream], ids=lambda kind: kind.name)
def test_a_busy_graph_gives_way_after_each_slice(kind, items_):
    got: list[int] = []
    made = graph("g", source(items_, name="s") >> kind >> kind.named("again") >> sink(got.append))
    passes = asyncio.run(passes_during(made))
    assert len(got) == MESSAGES
    handled = 3 * MESSAGES
    assert passes >= handled / (
        2 * SLICE_MESSAGES
    )  # what a source makes isn't counted, and a batch is finished


def test_a_node_that_feeds_itself_for_ever_does_not_keep_the_loop():
    async def main() -> int:
        scheduler = Scheduler()
        made = graph("g", source([0]) >> plain >> plain)
        scheduler.register(made)
        run = asyncio.create_task(scheduler.run_async())
        turns = 0
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        scheduler.shutdown()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return turns

    assert asyncio.run(main()) == 100
