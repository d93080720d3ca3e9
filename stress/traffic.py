"""What flows in the scenarios: numbered items that know their producer, and nodes that count them.

An item is an int: the number of its producer times `PER_PRODUCER`, plus its own number. So an end can tell the order of each
producer, gaps, and sums, and the counts of both ends of an edge are known without asking the runtime.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from stress.scenario import CHECKSUM, ORDER, Round

if TYPE_CHECKING:
    from meridian import Edge, Subgraph

PER_PRODUCER: Final = 1 << 40


class Producer:
    """Makes ``n`` items, and has all accounts looked at now and then.

    Attributes:
        id: Its number.
        n: How many items it is to make.
        looks: It has the accounts looked at; off where there are so many producers that looking would be all there is.
        sent: How many it has made.
    """

    def __init__(self, round: Round, id: int, n: int, *, looks: bool = True) -> None:
        self.round = round
        self.id = id
        self.n = n
        self.looks = looks
        self.sent = 0

    def items(self) -> Iterator[int]:
        """Make them, one after the other."""
        draw, base = self.round.random.randint, self.id * PER_PRODUCER
        look = draw(1, 400) if self.looks else -1
        for i in range(self.n):
            self.sent += 1
            if i == look:
                self.round.look_soon()
                look += draw(1, 2_000)
            yield base + i

    def lists(self) -> Iterator[list[int]]:
        """Make them as lists of one, to be merged by `merge`."""
        return ([item] for item in self.items())

    async def later(self, items: Iterable[Any], pauses: float, longest_s: float) -> AsyncIterator[Any]:
        """Make ``items`` with pauses: a share of them, of up to so many seconds."""
        random = self.round.random
        for item in items:
            if random.random() < pauses:
                await asyncio.sleep(random.uniform(0, longest_s))
            yield item

    def count(self) -> int:
        """Return how many it has made."""
        return self.sent

    @property
    def sum(self) -> int:
        """The sum of what it sent."""
        return self.id * PER_PRODUCER * self.sent + self.sent * (self.sent - 1) // 2


def merge(old: list[int], new: list[int]) -> list[int]:
    """Merge two lists; for a coalescing edge."""
    old.extend(new)
    return old


class Tally:
    """Counts what comes to a node, by producer, and looks at its order.

    Attributes:
        calls: How often the node was called.
        by: Items of each producer.
        sum: Of all items.
        gaps: Items that were never seen though later ones of their producer were.
    """

    def __init__(self, round: Round) -> None:
        self.round = round
        self.calls = 0
        self.by: Counter[int] = Counter()
        self.sum = 0
        self.gaps = 0
        self._next: dict[int, int] = {}

    def see(self, item: int) -> int:
        """Count one item, and return it: the function of a node that passes everything on."""
        self.calls += 1
        self.note(item)
        return item

    def end(self, item: int) -> None:
        """Count one item: the function of a sink."""
        self.calls += 1
        self.note(item)

    def end_list(self, items: list[int]) -> None:
        """Count a list of items that were merged."""
        self.calls += 1
        for item in items:
            self.note(item)

    def note(self, item: int) -> None:
        """Count, add, and see that it comes after those of the same producer."""
        producer, number = divmod(item, PER_PRODUCER)
        expected = self._next.get(producer, 0)
        if number != expected:
            if number < expected:
                self.round.check(
                    ORDER, False, f"producer {producer}: number {number} after number {expected - 1}"
                )
                return
            self.gaps += number - expected
        self._next[producer] = number + 1
        self.by[producer] += 1
        self.sum += item

    def count(self, producer: int | None = None) -> int:
        """Return how often the node was called; or how many items of one producer it saw."""
        return self.calls if producer is None else self.by[producer]

    def over(self, *producers: Producer, lost: int = 0) -> None:
        """Look at the end: everything that ``producers`` sent is here, less ``lost``."""
        sent = sum(producer.sent for producer in producers)
        got = sum(self.by.values())
        self.round.arrived(got)
        self.round.check(
            ORDER,
            got == sent - lost and self.gaps <= lost,
            f"{got} of {sent} arrived, {lost} were lost, and {self.gaps} are missing in between",
        )
        if not lost:
            total = sum(producer.sum for producer in producers)
            self.round.check(
                CHECKSUM, self.sum == total, f"the sum is off by {self.sum - total} after {got} items"
            )


def edge_between(made: Subgraph, source: str, target: str) -> Edge[Any]:
    """Return the edge from one node of ``made`` to another."""
    return next(edge for edge in made.edges if (edge.source_node, edge.target_node) == (source, target))
