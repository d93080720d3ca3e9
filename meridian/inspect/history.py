"""What a few minutes of looks have shown, in bounded memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from meridian.inspect import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meridian.introspect import Snapshot

LENGTH = 240
"""So many looks are kept."""

MOST = 20_000
"""Of so many things; a node has two, an edge three."""


class History:
    """Numbers of nodes and edges over the last looks of one run.

    Args:
        length: How many looks it keeps.
        most: Of how many things at the most.

    Attributes:
        run: The run that they are of.
        looks: How many looks it has taken in.
        forgone: How many things it keeps nothing of, because there are too many.
    """

    def __init__(self, length: int = LENGTH, most: int = MOST) -> None:
        self._length = length
        self._most = most
        self._series: dict[tuple[str, str], array[float]] = {}
        self.run: str | None = None
        self.looks = 0
        self.forgone = 0

    def add(self, shot: Snapshot) -> None:
        """Take a look in; one of another run begins anew."""
        if shot.run != self.run:
            self._series.clear()
            self.run, self.looks = shot.run, 0
        self.looks += 1
        self.forgone = 0
        for node in shot.nodes:
            spent = words.recent(node)
            self._note(node.name, "busy", spent.busy if spent is not None else None)
            self._note(node.name, "rate", words.rate(node))
        for edge in shot.edges:
            self._note(edge.id, "depth", edge.depth)
            self._note(edge.id, "rate", edge.delivered_per_s)
            self._note(edge.id, "lost", edge.lost_per_s)

    def of(self, name: str, what: str) -> Sequence[float]:
        """Return what was kept, oldest first.

        Args:
            name: Of a node, or id of an edge.
            what: ``busy`` or ``rate`` of a node; ``depth``, ``rate`` or ``lost`` of an edge.
        """
        return self._series.get((name, what), ())

    def _note(self, name: str, what: str, value: float | None) -> None:
        if value is None:  # the first look has no rates
            return
        series = self._series.get((name, what))
        if series is None:
            if len(self._series) >= self._most:
                self.forgone += 1
                return
            series = self._series[name, what] = array("f")
        elif len(series) >= self._length:
            del series[0]
        series.append(value)


def distribution(values: Sequence[float], bins: int = 6) -> list[tuple[float, float, int]]:
    """Count values in ranges of equal width: lower bound, upper bound, how many; none without values."""
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [(low, high, len(values))]
    width = (high - low) / bins
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return [(low + i * width, low + (i + 1) * width, n) for i, n in enumerate(counts)]
