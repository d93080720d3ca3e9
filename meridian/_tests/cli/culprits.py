"""Five graphs, each with one culprit; what looks at them has to name it.

Each says `ready` on stdout once its trouble has begun.
"""

import asyncio
import time
from itertools import count

from meridian import Scheduler, SchedulerConfig, Subgraph, graph, node, sink, source, via
from meridian.core.runtime_plan import PriorityBand


async def ticking(every_s: float = 0.002):
    for n in count():
        yield n
        await asyncio.sleep(every_s)


def ready(n: int, at: int) -> None:
    if n == at:
        print("ready", flush=True)


@node
def parse(n: int) -> int:
    return n


def stopped() -> Subgraph:
    """Nothing is wrong with it, until a signal stops the process."""

    def store(n: int) -> None:
        ready(n, 3)

    return graph("stopped", source(ticking(), name="read") >> parse >> sink(store, name="store"))


def endless() -> Subgraph:
    """A handler that never comes back."""

    def spin(n: int) -> None:
        ready(n, 3)
        while n >= 3:
            pass

    return graph("endless", source(ticking(), name="read") >> parse >> sink(spin, name="spin"))


def dead() -> Subgraph:
    """A consumer that takes a few and then no more, at the end of a chain that waits for it."""

    async def write(n: int) -> None:
        ready(n, 3)
        if n >= 3:
            await asyncio.Event().wait()

    @node
    def enrich(n: int) -> int:
        return n

    return graph(
        "dead",
        source(count(), name="read")
        >> via(capacity=8)
        >> parse
        >> via(capacity=8)
        >> enrich
        >> via(capacity=8)
        >> sink(write, name="write"),
    )


def starving() -> Scheduler:
    """Urgent work that goes round in a circle, and plain work that is never served beside it."""

    rounds = count()

    @node
    def retry(n: int):
        ready(next(rounds), 100)
        time.sleep(0.002)
        yield n

    made = graph("starving", source([0], name="alarm") >> retry)
    rows = graph("rows", source(ticking(), name="rows") >> sink(lambda n: None, name="store"))
    for each in rows.nodes.values():
        made.add_node(each)
    made.connect(("rows", "output"), ("store", "input"), capacity=8)
    circle = made.connect(("retry", "output"), ("retry", "input"))
    scheduler = Scheduler(SchedulerConfig(fairness_ratio=(1, 1_000_000, 1), max_batch_per_node=1))
    scheduler.register(made)
    scheduler.set_priority(circle, PriorityBand.HIGH)
    return scheduler


def storm() -> Subgraph:
    """A node that fails with every other message."""

    def invert(n: int) -> None:
        ready(n, 20)
        if n % 2:
            raise ZeroDivisionError(f"canary-51f0 {n}")

    return graph("storm", source(ticking(), name="read") >> parse >> sink(invert, name="invert"))


CULPRITS = {
    "stopped": ("process-stopped", None, None),
    "endless": ("loop-stuck", "spin", None),
    "dead": ("dead-consumer", "write", "enrich:output->write:input"),
    "starving": ("starving", "store", "rows:output->store:input"),
    "storm": ("error-storm", "invert", None),
}
"""Of each graph: the rule, the node and the edge that are to be named first."""
