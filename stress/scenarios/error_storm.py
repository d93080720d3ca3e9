"""Error storm: whatever can raise does so now and then, and each failure is recorded, and nothing else happens."""

# req: V9 V12 V14

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    coalesce,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian.core.policies import ErrorPolicy
from stress.scenario import CAPACITY, CONSERVATION, ERRORS, NO_LOSS, REASON, WAITS, Round, Scenario
from stress.traffic import Producer, edge_between


class PlannedError(Exception):
    """A failure that was planned."""


class Counter:
    """Counts calls and results of one node, and lets some calls fail.

    Attributes:
        seen: Calls.
        sent: Results.
        failed: Calls that were made to fail.
    """

    def __init__(self, round: Round) -> None:
        self.random = round.random
        self.share = round.random.choice([0.0, 0.01, 0.3, 1.0])
        self.seen = self.sent = self.failed = 0

    def enter(self) -> None:
        """Count a call, which may fail."""
        self.seen += 1
        self.perhaps()

    def perhaps(self) -> None:
        """Fail, or don't."""
        if self.random.random() < self.share:
            self.failed += 1
            raise PlannedError

    def count_seen(self) -> int:
        """Return how many calls there were."""
        return self.seen

    def count_sent(self) -> int:
        """Return how many results there were."""
        return self.sent


class Old(Node):
    """Emits what comes, or raises before or after; its failures are sent on as ERROR messages."""

    error_policy = ErrorPolicy.EMIT_ERROR

    def __init__(self, counter: Counter) -> None:
        super().__init__("old", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        self.counter = counter

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        del port
        before = self.counter.failed
        try:
            self.counter.enter()
            self.emit("out", msg)
            self.counter.sent += 1
            self.counter.perhaps()
        finally:
            self.counter.sent += self.counter.failed - before  # the ERROR message


async def play(round: Round) -> None:
    """A row of nodes of all kinds, each of which fails with a share of its own, and an edge whose merging fails."""
    random = round.random
    producer = Producer(round, 0, random.randint(200, 2_000))
    kinds = ["plain", "asynchronous", "stream", "asynchronous stream", "emits"]
    row = [Counter(round) for _ in range(random.randint(1, 4))]
    old, end, merged = Counter(round), Counter(round), Counter(round)
    merge_failures = 0

    def merge(first: Any, second: Any) -> Any:
        nonlocal merge_failures
        if random.random() < 0.3:
            merge_failures += 1
            raise PlannedError
        del second
        return first

    def made_of(kind: str, counter: Counter) -> Any:
        def plain(item: int) -> int:
            counter.enter()
            counter.sent += 1
            return item

        async def asynchronous(item: int) -> int:
            counter.enter()
            if random.random() < 0.2:
                await asyncio.sleep(0)
                counter.perhaps()
            counter.sent += 1
            return item

        def stream(item: int) -> Iterator[int]:
            counter.enter()
            for _ in range(2):
                counter.sent += 1
                yield item
                counter.perhaps()

        async def asynchronous_stream(item: int) -> AsyncIterator[int]:
            counter.enter()
            for _ in range(2):
                counter.sent += 1
                yield item
                counter.perhaps()

        def emits(item: int, emit: Any) -> None:
            counter.enter()
            emit(item)
            counter.sent += 1
            counter.perhaps()

        functions = (plain, asynchronous, stream, asynchronous_stream, emits)
        return dict(zip(kinds, functions, strict=True))[kind]

    def ends(message: Message[Any]) -> None:
        if message.type is MessageType.ERROR:
            end.seen += 1
        else:
            end.enter()

    async def ends_slowly(message: Message[Any]) -> None:
        del message
        merged.seen += 1
        if random.random() < 0.1:
            await asyncio.sleep(0.001)
        merged.perhaps()

    nodes = [node(name=f"node{i}")(made_of(random.choice(kinds), counter)) for i, counter in enumerate(row)]
    flow: Any = source(producer.items, name="source")
    for each in nodes:
        flow = flow >> via(capacity=random.randint(1, 64)) >> each
    v1 = Old(old)
    flow = flow >> via(capacity=random.randint(1, 64)) >> v1
    made = graph(
        "errors",
        flow >> via(capacity=random.randint(1, 64)) >> sink(ends, name="end"),
        v1
        >> via(capacity=random.randint(1, 8), policy=coalesce(merge, on="message"))
        >> sink(ends_slowly, name="merged"),
    )
    names = ["source", *(each.name for each in nodes), "old"]
    senders = [producer.count, *(counter.count_sent for counter in row)]
    for i, counter in enumerate([*row, old]):
        round.account(edge_between(made, names[i], names[i + 1]), senders[i], counter.count_seen, exact=False)
    round.account(edge_between(made, "old", "end"), old.count_sent, end.count_seen, exact=False)
    round.account(
        edge_between(made, "old", "merged"), old.count_sent, merged.count_seen, exact=False, blocks=False
    )
    report = await round.run(made, errors=None)
    planned = sum(counter.failed for counter in (*row, old, end, merged))
    round.check(
        ERRORS, report.errors_total == planned, f"{report.errors_total} failures, {planned} were planned"
    )
    lost = {edge.id: edge.lost for edge in report.edges}[edge_between(made, "old", "merged").id]
    round.check(
        ERRORS,
        lost == ({"coalesce_error": merge_failures} if merge_failures else {}),
        f"{merge_failures} merges failed, and {sum(lost.values())} messages were lost",
    )
    round.arrived(sum(counter.seen for counter in (*row, old, end, merged)))


SCENARIO = Scenario(
    "error-storm",
    "Whatever can raise does so now and then: each failure is recorded once, loses what it has to, and does nothing else.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, WAITS, REASON, ERRORS),
)
