"""What a target implements so that the kit can judge it.

An edge backend is one class::

    class Backend:
        capabilities = {"async"}  # what you claim; the rest is probed, never assumed

        def open(self, spec: EdgeSpec) -> Edge: ...  # fresh and isolated, each time

and what it opens has five methods: `put`, `get`, `depth`, `counters`, `close`. Everything else is optional, and each
option has a capability of its own (`Capability`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable


class Capability(StrEnum):
    """What a backend may claim beyond the five methods."""

    ASYNC = "async"
    """The edge has ``await put_wait(item)`` and ``await get_wait()``, which wait for room and for an item.

    Of an engine: it runs nodes whose work ends later.
    """
    THREADS = "threads"
    """`put`, `get`, `depth` and `counters` may be called from any thread at once."""
    BYTES_LIMIT = "bytes_limit"
    """``EdgeSpec.max_bytes`` is kept."""
    AGE_LIMIT = "age_limit"
    """``EdgeSpec.max_age_s`` is kept, by the time that ``EdgeSpec.clock`` tells."""
    CONTROL = "control"
    """The edge has ``put_control(item)``: a lane in front, which no policy loses from."""
    SERIALISES = "serialises"
    """Items come out as equal ones of the same type, rather than as the same objects."""
    DURABLE = "durable"
    """The backend has ``crash(edge)`` and ``reopen(edge)``: what was acknowledged survives."""
    TORN = "torn"
    """The backend has ``crash_in_put(edge, item, steps)``: it can die between any two steps of a put."""
    BAND_CHANGE = "band_change"
    """A ready queue has ``set_band(turn, band)``: a turn changes its band while it waits."""
    ROUTE = "route"
    """Of nodes: the backend opens routes."""
    BATCH = "batch"
    """Of nodes: the backend opens batches."""
    THROTTLE = "throttle"
    """Of nodes: the backend opens throttles."""
    LIMITS = "limits"
    """Of an engine: ``Link.max_bytes``, ``Link.max_age_s`` and ``Graph.budget`` are kept, and it has ``held(link)``."""
    METRICS = "metrics"
    """The backend has ``open_metered(spec)``: the same edge with its metrics on."""


class Put(StrEnum):
    """What became of one put. A backend may answer with these or with their plain names."""

    OK = "OK"
    """There was room; the item was appended."""
    BLOCKED = "BLOCKED"
    """No room; nothing changed, the caller keeps the item."""
    DROPPED = "DROPPED"
    """No room; the new item was discarded and counted, cause ``dropped``."""
    REPLACED = "REPLACED"
    """No room; the oldest was discarded and counted, cause ``replaced``; the new one was appended."""
    COALESCED = "COALESCED"
    """No room; the new item was merged into the newest one (or replaced it: cause ``coalesce_error``)."""
    CLOSED = "CLOSED"
    """The edge is closed; nothing changed, the caller keeps the item."""


class Nothing(Enum):
    """What ``get`` returns instead of an item; ``None`` is an item like any other."""

    EMPTY = "EMPTY"
    CLOSED = "CLOSED"

    def __repr__(self) -> str:
        return self.name


EMPTY: Final = Nothing.EMPTY
"""No item waits."""
CLOSED: Final = Nothing.CLOSED
"""Only from ``get_wait``: the edge is closed and drained, no item will ever come."""

POLICIES: Final = ("block", "drop", "latest", "coalesce")
LOSSES: Final = ("dropped", "replaced", "expired", "coalesce_error")


class CoalesceError(Exception):
    """What the kit's failing coalesce functions raise."""


def _collect(old: Any, new: Any) -> Any:
    """Merge in order: shows who was old, who was new, and how often it was called."""
    return [*(old if _is_collected(old) else ["merged", old]), new]


def _is_collected(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and item[0] == "merged"


def _newer(old: Any, new: Any) -> Any:
    del old
    return new


def _fail(old: Any, new: Any) -> Any:
    raise CoalesceError("this coalesce function always fails")


def _nothing(old: Any, new: Any) -> Any:
    del old, new


COALESCE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "collect": _collect,
    "newer": _newer,
    "none": _nothing,
    "fail": _fail,
}
"""The coalesce functions of the kit, by the name that failure files use: ``fn(old, new)`` returns the merged item."""


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """What edge is to be opened.

    Attributes:
        capacity: Most items it holds; ``open`` refuses less than 1 with ``ValueError``.
        policy: What it does when it is full: one of `POLICIES`; ``open`` refuses others with ``ValueError``.
        coalesce: Name of the function in `COALESCE`, for policy ``coalesce``. Call `merge`, not the table.
        max_bytes: Most bytes that the held items may have together, by `size_of`; or ``None``. Only asked of
            backends with capability ``bytes_limit``.
        max_age_s: Items that waited longer than that many seconds are not delivered but lost, cause ``expired``; or
            ``None``. Only asked of backends with capability ``age_limit``.
        clock: Tells seconds; ages are told by it and by nothing else.
        watch: Called with (old, new) at each call of `merge`: how the kit sees how often and in which order.
    """

    capacity: int
    policy: str = "block"
    coalesce: str | None = None
    max_bytes: int | None = None
    max_age_s: float | None = None
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    watch: Callable[[Any, Any], None] | None = field(default=None, compare=False, repr=False)

    def merge(self, old: Any, new: Any) -> Any:
        """Call the coalesce function; may raise."""
        if self.watch is not None:
            self.watch(old, new)
        return COALESCE[self.coalesce or "newer"](old, new)

    def needs(self) -> frozenset[str]:
        """Return the capabilities without which this edge can't be opened."""
        return frozenset(
            [Capability.BYTES_LIMIT] * (self.max_bytes is not None)
            + [Capability.AGE_LIMIT] * (self.max_age_s is not None)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use."""
        return {
            "capacity": self.capacity,
            "policy": self.policy,
            "coalesce": self.coalesce,
            "max_bytes": self.max_bytes,
            "max_age_s": self.max_age_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EdgeSpec:
        """Make one from that form; absent fields have their defaults."""
        known = ("capacity", "policy", "coalesce", "max_bytes", "max_age_s")
        return cls(**{name: data[name] for name in known if name in data})


def size_of(item: Any) -> int:
    """Return the bytes that an item counts for: the length of bytes and text, 8 for everything else."""
    return len(item) if isinstance(item, (bytes, str)) else 8


Counters: TypeAlias = Mapping[str, Any]
"""``accepted``, ``delivered`` and ``merged`` are integers; ``lost`` maps each cause that occurred to how many items.

Accepted is what the edge took responsibility for, that is every put but those that were BLOCKED, CLOSED or raised.
At every instant ``accepted = delivered + depth + merged + sum(lost.values())``.
"""


@runtime_checkable
class Edge(Protocol):
    """What a backend opens."""

    def put(self, item: Any, /) -> str:
        """Put one item without ever waiting; return a `Put` or its name.

        Raises:
            ValueError: the item alone is larger than ``max_bytes``; nothing changed.
        """
        ...

    def get(self) -> Any:
        """Take the oldest item, or return `EMPTY`. A closed edge gives out what it holds."""
        ...

    def depth(self) -> int:
        """Return how many items are held."""
        ...

    def counters(self) -> Counters:
        """Return the totals since it was opened; see `Counters`."""
        ...

    def close(self) -> None:
        """Take nothing more, and wake everybody who waits. What is held can still be taken. May be called again."""
        ...


@runtime_checkable
class WaitingEdge(Edge, Protocol):
    """An edge with capability ``async``."""

    async def put_wait(self, item: Any, /) -> str:
        """Put one item; with policy ``block`` wait for room. Never ``BLOCKED``; ``CLOSED`` once the edge is closed."""
        ...

    async def get_wait(self) -> Any:
        """Take the oldest item, waiting for one; `CLOSED` when the edge is closed and drained."""
        ...


@runtime_checkable
class ControlEdge(Edge, Protocol):
    """An edge with capability ``control``."""

    def put_control(self, item: Any, /) -> str:
        """Put one item in the lane that is served first: ``OK``, ``BLOCKED`` when full whatever the policy, ``CLOSED``."""
        ...


@runtime_checkable
class EdgeBackend(Protocol):
    """What a third party writes. ``open`` and ``capabilities`` are all that is needed."""

    capabilities: Collection[str]

    def open(self, spec: EdgeSpec, /) -> Edge:
        """Open a fresh edge that shares nothing with the others.

        Raises:
            ValueError: there can't be such an edge.
        """
        ...


# Optional methods of a backend. Each is looked up by name, so a backend simply has them or not:
#
#   raw_items(edge) -> list          what is held, in the order of delivery, read from the storage without the edge
#   discard(edge) -> None            clean up; called once for every edge when the kit is done with it
#   crash(edge) -> None              lose whatever a power cut would lose (capability durable)
#   reopen(edge) -> Edge             open what a crashed edge left (capability durable)
#   crash_in_put(edge, item, steps) -> bool
#                                    begin a put and die after so many internal steps; False if it was done before
#                                    (capability torn)
#   open_metered(spec) -> Edge       the same edge with its metrics on (capability metrics)


def claims(backend: Any) -> frozenset[str]:
    """Return the capabilities that a backend claims.

    Raises:
        TypeError: they aren't a collection of known names.
    """
    claimed: Any = getattr(backend, "capabilities", ())
    if isinstance(claimed, str) or not isinstance(claimed, Collection):
        raise TypeError(f"{name_of(backend)}.capabilities has to be a set of names, such as {{'async'}}")
    known = {str(capability) for capability in Capability}
    unknown = sorted({str(name) for name in claimed} - known)
    if unknown:
        raise TypeError(
            f"{name_of(backend)} claims {', '.join(unknown)}; the kit knows {', '.join(sorted(known))}"
        )
    return frozenset(str(name) for name in claimed)


def name_of(backend: Any) -> str:
    """Return the name under which a backend is reported."""
    given = getattr(backend, "name", None)
    if isinstance(given, str):
        return given
    kind: type = backend if isinstance(backend, type) else type(backend)
    return f"{kind.__module__}:{kind.__qualname__}"


def optional(backend: Any, method: str) -> Callable[..., Any] | None:
    """Return an optional method of a backend, or ``None``."""
    found = getattr(backend, method, None)
    return found if callable(found) else None
