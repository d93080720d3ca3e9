"""What limits promise, judged from outside: bytes and ages of what is queued, whatever the engine says of them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian_conformance.engine.contract import LARGEST, size_of
from meridian_conformance.require import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meridian_conformance.engine.contract import Graph
    from meridian_conformance.engine.world import Record


class LimitsJudge:
    """Watches what edges hold, and notes when each item came and how it went.

    Args:
        graph: What is run.
        world: What is handled there.
        engine: Who runs it.
        require: Breaks a rule unless something holds.

    Attributes:
        scarce: How often the budget had no room for every item.
    """

    def __init__(self, graph: Graph, world: Record, engine: Any, require: Callable[..., None]) -> None:
        self.graph = graph
        self.world = world
        self.engine = engine
        self.require = require
        self.scarce = 0
        self._came: list[dict[int, float]] = [{} for _ in graph.links]
        self._handled = [0] * len(graph.links)
        self._stale = [0] * len(graph.links)

    def look(self, control: Sequence[int]) -> None:
        """Judge what is held now, and what went since the last look.

        Args:
            control: How many CONTROL items each edge holds.
        """
        used = 0
        for n, link in enumerate(self.graph.links):
            held = list(self.engine.held(n))
            used += self._bytes(n, held)
            depth = self.engine.depth(n) - control[n]
            self.require("ENGINE-501", len(held) == depth, edge=n, held=len(held), depth_of_data=depth)
            if link.max_age_s is not None:
                self._ages(n, held, link.max_age_s)
        budget = self.graph.budget
        if budget is not None:
            self.require("ENGINE-523", used <= budget, bytes=used, budget=budget)
            if budget - used < LARGEST:
                self.scarce += 1
                seen("ENGINE-523", "the budget had no room for every item")

    def _bytes(self, n: int, held: Sequence[int]) -> int:
        used, most = sum(map(size_of, held)), self.graph.links[n].max_bytes
        if most is not None:
            self.require("ENGINE-521", used <= most, edge=n, bytes=used, max_bytes=most)
            if most - used < LARGEST and len(held) < self.graph.links[n].capacity:
                seen("ENGINE-521", "an edge had room for one more item, but not for every size")
        return used

    def _ages(self, n: int, held: Sequence[int], most: float) -> None:
        now, came, handled = self.world.now, self._came[n], self.world.handled[n]
        for item in handled[self._handled[n] :]:
            age = now - came.pop(item, now)
            self.require("ENGINE-522", age <= most, edge=n, delivered_at_age=age, max_age_s=most)
        self._handled[n] = len(handled)
        there = set(held)
        stale = [item for item in came if item not in there and now - came[item] > most]
        self._stale[n] += len(stale)
        if stale:
            seen("ENGINE-522", "an item was too old", len(stale))
        told = self.engine.counters(n)["lost"].get("expired", 0)
        # A merged item is as old as the one whose place it took, which nobody can see from here.
        exact = self.graph.links[n].policy != "coalesce"
        self.require(
            "ENGINE-522",
            told == self._stale[n] if exact else told >= self._stale[n],
            edge=n,
            too_old=self._stale[n],
            counted_as_expired=told,
        )
        self._came[n] = {item: came.get(item, now) for item in held}
