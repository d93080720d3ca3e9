"""A durable edge over a make-believe disk: the reference of the durable profile until Meridian has stores of its own.

Every put and get is written down as one record, published by a count, and synced before it is answered. The disk forgets what
wasn't synced when the power is cut, and can stop the process between any two writes.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import EMPTY, Capability, EdgeSpec, Put
from meridian_conformance.reference import ReferenceBackend, ReferenceEdge

if TYPE_CHECKING:
    from collections.abc import Collection


class Death(BaseException):
    """The process dies here."""


class Disk:
    """Cells of bytes.

    Attributes:
        cells: What the process sees.
        synced: What survives a power cut.
        lives: Writes that are left until the process dies, or ``None``.
    """

    def __init__(self) -> None:
        self.cells: dict[str, bytes] = {}
        self.synced: dict[str, bytes] = {}
        self.lives: int | None = None

    def step(self) -> None:
        """Do one of the steps between which the process may die."""
        if self.lives is not None:
            if self.lives == 0:
                raise Death
            self.lives -= 1

    def write(self, name: str, data: bytes) -> None:
        """Write a cell; one step."""
        self.step()
        self.cells[name] = data

    def sync(self) -> None:
        """Make all that was written durable; one step."""
        self.step()
        self.synced = dict(self.cells)

    def cut_power(self) -> None:
        """Lose what wasn't synced."""
        self.cells = dict(self.synced)


class JournalEdge(ReferenceEdge):
    """An edge that writes down what happens to it."""

    def __init__(self, spec: EdgeSpec, disk: Disk | None = None) -> None:
        super().__init__(spec)
        self.disk = disk or Disk()
        self.records = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result not in (Put.BLOCKED, Put.CLOSED):
            self.write(("put", item))
        return result

    def get(self) -> Any:
        item = super().get()
        if item is not EMPTY:
            self.write(("get",))
        return item

    def write(self, record: tuple[Any, ...]) -> None:
        """Write a record, then publish it, then sync."""
        self.write_data(record)
        self.publish()
        self.disk.sync()

    def write_data(self, record: tuple[Any, ...]) -> None:
        """Write a record in two halves, as long ones are."""
        data = pickle.dumps(record)
        half = len(data) // 2
        self.disk.write(f"{self.records} a", data[:half])
        self.disk.write(f"{self.records} b", data[half:])

    def publish(self) -> None:
        """Count the record: from now on it exists."""
        self.records += 1
        self.disk.write("count", str(self.records).encode())

    def read(self) -> None:
        """Do again what is written down."""
        cells = self.disk.cells
        for n in range(int(cells.get("count", b"0"))):
            op, *args = pickle.loads(cells.get(f"{n} a", b"") + cells.get(f"{n} b", b""))  # noqa: S301 - its own
            if op == "put":
                ReferenceEdge.put(self, *args)
            else:
                ReferenceEdge.get(self)
            self.records = n + 1


class JournalBackend(ReferenceBackend):
    """Opens durable edges."""

    name = "journal"
    capabilities: Collection[str] = frozenset(
        {
            Capability.ASYNC,
            Capability.BYTES_LIMIT,
            Capability.AGE_LIMIT,
            Capability.DURABLE,
            Capability.TORN,
        }
    )
    edge_type: type[ReferenceEdge] = JournalEdge

    def crash(self, edge: JournalEdge) -> None:
        """Cut the power."""
        edge.disk.cut_power()

    def crash_in_put(self, edge: JournalEdge, item: Any, steps: int) -> bool:
        """Die in a put, after so many steps; what was written stays, synced or not."""
        edge.disk.lives = steps
        try:
            edge.put(item)
        except Death:
            return True
        finally:
            edge.disk.lives = None
        return False

    def reopen(self, edge: JournalEdge) -> JournalEdge:
        """Open what is on the disk of a dead edge."""
        again = type(edge)(edge.spec, edge.disk)
        again.read()
        return again
