"""What metrics were told about one edge.

Counts come from the edge's ring, which a run counts anew; counters only grow. So each edge has an account of what it told, and
tells differences, whoever asks: a run, when somebody reads, or the edge itself when it is used without one.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_telling = Lock()
"""Readers, the run and threads that put by hand may tell at once; each difference is told once."""


class EdgeAccount:
    """The account of one edge."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], int] = {}

    def tell(
        self, metrics: Any, edge_id: str, taken: int, depth: int, merged: int, lost: Mapping[str, int]
    ) -> None:
        """Bring a provider's numbers up to date.

        Args:
            metrics: The provider.
            edge_id: The label.
            taken: Items delivered since `recount`, or ever.
            depth: Items that wait now.
            merged: Items merged into others.
            lost: Items lost, by cause.
        """
        labels = {"edge_id": edge_id}
        gone = sum(lost.values())
        with _telling:
            self._count(metrics, "edge_enqueued_total", labels, taken + depth + merged + gone)
            self._count(metrics, "edge_dequeued_total", labels, taken)
            for cause, n in lost.items():
                self._count(metrics, "edge_lost_total", {**labels, "cause": cause}, n)
            self._count(metrics, "edge_dropped_total", labels, gone)
            if merged:
                self._count(metrics, "edge_merged_total", labels, merged)
            metrics.gauge("edge_queue_depth", labels).set(depth)

    def _count(self, metrics: Any, name: str, labels: dict[str, str], total: int) -> None:
        key = name, labels.get("cause", "")
        counter = metrics.counter(name, labels)
        since = total - self._told.get(key, 0)
        if since > 0:
            counter.inc(since)
            self._told[key] = total

    def recount(self, depth: int) -> None:
        """Know that the ring counts anew, with ``depth`` items on it, of which some were told already."""
        with _telling:
            told = self._told
            waiting = told.get(("edge_enqueued_total", ""), 0) - sum(
                told.get((name, ""), 0)
                for name in ("edge_dequeued_total", "edge_dropped_total", "edge_merged_total")
            )
            self._told = {("edge_enqueued_total", ""): min(waiting, depth)}
