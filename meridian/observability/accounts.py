"""What metrics were told about one edge.

Counts come from the edge's ring, which a run counts anew; counters only grow. So each edge has an account of what it told, and
tells differences, whoever asks: a run, when somebody reads, or the edge itself when it is used without one.

Of edges that are used without a run a provider that is read keeps a book, and tells itself what they counted when somebody reads.
So a put costs the same with metrics as without. An edge that is gone by then is told all the same.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Mapping

# Reentrant, both: the collector may run anybody's code while they are held.
_telling = RLock()
"""Readers, the run and threads that put by hand may tell at once; each difference is told once."""
_opening = RLock()
"""Held while a book is opened or closed."""


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


class Told(Protocol):
    """An edge, as a book sees it."""

    def account(self) -> EdgeAccount:
        """Return what metrics were told about it."""
        ...

    def tell_reader(self, metrics: Any) -> None:
        """Bring a provider's numbers up to date, unless a run does that."""
        ...


class _Book:
    """Edges that are used without a run, for a provider that is read.

    It doesn't keep them alive.
    """

    def __init__(self, metrics: Any) -> None:
        self.metrics = metrics
        self.gone: deque[tuple[EdgeAccount, str, tuple[int, int, int, dict[str, int]]]] = deque()
        self._edges: dict[ref[Told], None] = {}
        metrics.register_collector(self.tell)

    def enter(self, edge: Told) -> None:
        edge.account()
        self._edges[ref(edge, self._forget)] = None
        self._tell_of_gone(self.metrics)  # so they don't gather where nobody reads

    def _forget(self, edge: ref[Told]) -> None:
        self._edges.pop(edge, None)

    def tell(self, metrics: Any) -> None:
        """Bring the provider's numbers up to date."""
        self._tell_of_gone(metrics)
        for known in list(self._edges):
            if (edge := known()) is not None:
                edge.tell_reader(metrics)

    def _tell_of_gone(self, metrics: Any) -> None:
        while self.gone:
            try:
                account, edge_id, figures = self.gone.popleft()
            except IndexError:  # another thread was quicker
                return
            account.tell(metrics, edge_id, *figures)


_book: _Book | None = None


def keep_book(metrics: Any, edge: Told) -> None:
    """Have ``metrics``, which is read, read ``edge`` too, until another provider is configured."""
    global _book
    with _opening:
        if _book is None or _book.metrics is not metrics:
            _book = _Book(metrics)
        book = _book
    book.enter(edge)


def close_book() -> None:
    """Tell the provider whose book it is what was counted until now, and let it be."""
    global _book
    with _opening:
        book, _book = _book, None
    if book is not None:
        book.metrics.unregister_collector(book.tell)
        book.tell(book.metrics)


def note_gone(account: EdgeAccount, edge_id: str, figures: tuple[int, int, int, dict[str, int]]) -> None:
    """Note the last figures of an edge that is going.

    That may be at any time, with any lock held: so they are told later.
    """
    book = _book
    if book is not None:
        book.gone.append((account, edge_id, figures))
