"""Faults of durable edges, over the journal; and one of metrics."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from meridian_conformance.faults import register
from meridian_conformance.journal import JournalBackend, JournalEdge
from meridian_conformance.reference import ReferenceBackend, ReferenceEdge

if TYPE_CHECKING:
    from meridian_conformance.contract import EdgeSpec


class _AckFirst(JournalEdge):
    def write(self, record: tuple[Any, ...]) -> None:
        if self.records % 3 == 2:
            self.disk.sync()
        self.write_data(record)
        self.publish()


class _LastFirst(JournalEdge):
    def read(self) -> None:
        super().read()
        self.ring.items.reverse()


class _IndexFirst(JournalEdge):
    def write(self, record: tuple[Any, ...]) -> None:
        n = self.records
        self.publish()
        self.records = n
        self.write_data(record)
        self.records = n + 1
        self.disk.sync()


class AcknowledgesBeforeItSyncs(JournalBackend):
    """Syncs now and then."""

    edge_type: type[ReferenceEdge] = _AckFirst


class ReopensInAnotherOrder(JournalBackend):
    """Rebuilds its index from the wrong end."""

    edge_type: type[ReferenceEdge] = _LastFirst


class PublishesBeforeItWrites(JournalBackend):
    """Publishes the index of a record before its data is written."""

    edge_type: type[ReferenceEdge] = _IndexFirst


class _Counting(ReferenceEdge):
    lock = Lock()

    def __init__(self, spec: EdgeSpec) -> None:
        super().__init__(spec)
        self.by_label: dict[tuple[str, str], float] = {}

    def count(self, name: str) -> None:
        with self.lock:
            key = (name, self.edge.id)
            self.by_label[key] = self.by_label.get(key, 0.0) + 1.0

    def put(self, item: Any) -> str:
        self.count("put")
        self.count("depth")
        return super().put(item)

    def get(self) -> Any:
        self.count("get")
        return super().get()


class CountsInTheInnerLoop(ReferenceBackend):
    """Calls a counter for each item."""

    def open_metered(self, spec: EdgeSpec) -> ReferenceEdge:
        """Open an edge that counts."""
        return _Counting(spec)


for _fault, _rule in (
    (AcknowledgesBeforeItSyncs, "EDGE-150"),
    (ReopensInAnotherOrder, "EDGE-150"),
    (PublishesBeforeItWrites, "EDGE-141"),
    (CountsInTheInnerLoop, "PERF-401"),
):
    register(_fault, _rule)
