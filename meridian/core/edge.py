"""Edge: a bounded, typed connection between two ports.

An edge is declared with the graph and holds its items itself, in a ring: so it can be filled before a run, by hand and
from any thread, and keeps what a run left on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from meridian.core.errors import PayloadError
from meridian.core.message import DATA, Message
from meridian.core.policies import Block, Latest, Policy, PutResult, as_policy
from meridian.core.ports import PortSpec
from meridian.core.schema import Check, compile_schema
from meridian.engine.select import engine_type
from meridian.observability import context as _observing
from meridian.observability.accounts import EdgeAccount, keep_book, note_gone
from meridian.observability.logging import LogLevel, get_logger
from meridian.observability.metrics import get_metrics, is_metrics_enabled, is_read
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from meridian.core.ports import Port
    from meridian.engine.kernel import PythonEngine
    from meridian.engine.ring import Budget, Ring
    from meridian.observability.metrics import Metrics

T = TypeVar("T")

_BLOCK = Block()
_LATEST = Latest()

_making = RLock()
"""Held while a ring is made outside a run, and while an edge joins one; there is little of either."""

_logger, _DEBUG = get_logger(), LogLevel.DEBUG.rank
_EVENTS = {
    PutResult.OK: ("edge.enqueue", "item queued"),
    PutResult.BLOCKED: ("edge.blocked", "edge is full"),
    PutResult.DROPPED: ("edge.drop", "item dropped"),
    PutResult.REPLACED: ("edge.replace", "oldest item replaced"),
    PutResult.COALESCED: ("edge.coalesce", "item merged into the newest one"),
}


class Host(Protocol):
    """A run, as its edges see it."""

    def ring(self, i: int, /) -> Ring:
        """Return the ring of edge ``i``."""
        ...


class Edge(Generic[T]):
    """A bounded FIFO between an output and an input.

    Args:
        source_node: Name of the node it leaves.
        source_port: Its output.
        target_node: Name of the node it enters.
        target_port: Its input.
        capacity: Most items it holds, CONTROL included. Zero and less are reported by `Subgraph.validate`; such an
            edge holds nothing.
        spec: What DATA must fit, or ``None`` for anything.
        default_policy: What happens when it is full. Unset, a node's emit blocks, while `try_put` replaces the oldest
            item (as in v1).
        max_bytes: Most bytes that queued DATA may have together, or ``None``.
        max_age_s: DATA that waited longer is not delivered but counted as lost, cause ``expired``; or ``None``.
        size: Tells the bytes of a payload, once for each that `try_put` or `put_many` puts; without it the length of bytes and
            text, ``sys.getsizeof`` of the rest.

    Equal only to itself. Cost: O(1) for every call.
    """

    __slots__ = (
        "__weakref__",
        "_account",
        "_capacity",
        "_default_policy",
        "_host",
        "_index",
        "_ring",
        "_settled",
        "_spec",
        "max_age_s",
        "max_bytes",
        "size",
        "source_node",
        "source_port",
        "target_node",
        "target_port",
    )

    def __init__(
        self,
        source_node: str,
        source_port: Port,
        target_node: str,
        target_port: Port,
        capacity: int = 1024,
        spec: PortSpec | None = None,
        default_policy: Policy | None = None,
        *,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        size: Callable[[Any], int] | None = None,
    ) -> None:
        self._account: EdgeAccount | None = None
        self._settled = -1
        self.source_node = source_node
        self.source_port = source_port
        self.target_node = target_node
        self.target_port = target_port
        self._capacity = capacity
        self._spec = spec
        self._default_policy = as_policy(default_policy)
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.size = size
        self._ring: Ring | None = None
        self._host: Host | None = None

    @property
    def id(self) -> str:
        """``source:port->target:port``."""
        return f"{self.source_node}:{self.source_port.name}->{self.target_node}:{self.target_port.name}"

    def _edge_id(self) -> str:
        return self.id

    @property
    def capacity(self) -> int:
        """Most items it holds; may be assigned at any time."""
        return self._capacity

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity = capacity
        if self._ring is not None:
            self._ring.set_capacity(max(capacity, 0))

    @property
    def spec(self) -> PortSpec | None:
        """What DATA must fit, or ``None``."""
        return self._spec

    @spec.setter
    def spec(self, spec: PortSpec | None) -> None:
        self._spec = spec
        if self._ring is not None:
            self._ring.check = _check_of(spec)

    @property
    def default_policy(self) -> Policy | None:
        """What happens when it is full, or ``None`` for the default of the caller."""
        return self._default_policy

    @default_policy.setter
    def default_policy(self, policy: Policy | None) -> None:
        self._default_policy = as_policy(policy)
        if self._ring is not None:
            self._ring.set_policy(self._default_policy or _BLOCK)

    def try_put(self, item: T | Message[T], policy: Policy | None = None) -> PutResult:
        """Put an item without ever waiting, from any thread, whether or not a scheduler runs.

        Args:
            item: A raw payload or a `Message`.
            policy: What to do if it is full; else the edge's own policy, else latest.

        Returns:
            Exactly what became of the item. CONTROL is refused by a full edge (``BLOCKED``), whatever the policy.

        Raises:
            PayloadError, TypeError: the payload doesn't fit the schema, or ``policy`` is none; nothing changed.
            ValueError: the item alone is larger than ``max_bytes``, or a custom policy answered nonsense.
        """
        ring = self.ring() if self._ring is None else self._ring
        weight = self._admit(ring, item)
        result = ring.put(item, as_policy(policy) or self._default_policy or _LATEST, weight)
        if self._settled != _observing._generation:
            event, text = _EVENTS[result]
            self._observed(event, text, edge_capacity=self._capacity)
        return result

    def put_many(self, items: Iterable[T | Message[T]], policy: Policy | None = None) -> int:
        """Put items in order, without ever waiting, from any thread: what so many calls of `try_put` would do.

        Args:
            items: Raw payloads or messages; taken up as a whole before the first is put.
            policy: What to do if it is full; else the edge's own policy, else latest.

        Returns:
            How many of them the edge took, from the first on, lost and merged ones included. With a policy that blocks that
            may be fewer than all: the others are still the caller's.

        Raises:
            PayloadError, TypeError: a payload doesn't fit the schema, or ``policy`` is none; nothing changed.
            ValueError: one item alone is larger than ``max_bytes``, and nothing changed; or a custom policy answered nonsense
                for one, and only those before it were put.

        Cost: O(n), a fraction of as many calls of `try_put`.
        """
        ring = self.ring() if self._ring is None else self._ring
        batch = list(items)
        weights: Sequence[int] | None = None
        if ring.check is not None or ring.limited:
            weights = [self._admit(ring, item) for item in batch]
        n = ring.put_many(batch, as_policy(policy) or self._default_policy or _LATEST, weights)
        if self._settled != _observing._generation:
            self._observed("edge.enqueue", "items queued", n=n)
        return n

    def _admit(self, ring: Ring, item: Any) -> int:
        """Refuse what may not be on this edge; return the bytes that the rest counts for, 0 where nobody counts them."""
        check = ring.check
        if check is not None:
            value, is_data = item, True
            if isinstance(item, Message):
                value, is_data = item.payload, item.type is DATA
            if is_data and not check.passes(value):
                self._refused(value)
        if not ring.limited:
            return 0
        weight = ring.weigh(item)
        if weight is None:
            raise ValueError(f"edge {self.id}: one item is larger than the edge may ever hold")
        return weight

    def _refused(self, value: Any) -> None:
        _logger.warn(
            "edge.validation_failed",
            "payload does not fit the schema",
            edge_id=self.id,
            payload_type=type_name(value),
        )
        raise PayloadError(self.id, type_name(value))

    def try_get(self) -> T | None:
        """Take the next item, CONTROL first, or return ``None`` when it is empty.

        A queued raw ``None`` can't be told from empty here; ask `is_empty` first where that matters.
        """
        if self._ring is None:
            return None
        try:
            item = self._ring.get()
        except IndexError:
            return None
        if self._settled != _observing._generation:
            self._observed("edge.dequeue", "item taken")
        return cast("T", item)

    def take_many(self, n: int) -> list[T]:
        """Take up to ``n`` items, CONTROL first, from any thread; fewer than that when there aren't so many.

        Raises:
            ValueError: ``n`` is negative.

        Cost: O(n), a fraction of as many calls of `try_get`.
        """
        if n < 0:
            raise ValueError(f"n is {n}, it has to be 0 or more")
        if self._ring is None:
            return []
        taken = self._ring.take_many(n)
        if self._settled != _observing._generation and taken:
            self._observed("edge.dequeue", "items taken", n=len(taken))
        return taken

    def depth(self) -> int:
        """Return how many items wait."""
        if self._ring is None:
            return 0
        if self._settled != _observing._generation:
            self._settle()
        return self._ring.depth()

    def is_empty(self) -> bool:
        """Return whether no item waits."""
        return self.depth() == 0

    def is_full(self) -> bool:
        """Return whether ``depth() >= capacity``."""
        return self.depth() >= self._capacity

    # What is observed of single calls is decided anew whenever something was configured anew; until then a call that nobody
    # looks at costs one comparison, with metrics as without.

    def _observed(self, event: str, text: str, **fields: object) -> None:
        """Say what happened to whoever wants to know of single calls."""
        if _logger._threshold <= _DEBUG and self._ring is not None:
            _logger.debug(event, text, edge_id=self.id, **fields, edge_size=self._ring.depth())
        self._settle()

    def _settle(self) -> None:
        """Have metrics read this edge from now on, or tell them now if they don't read; then see if single calls matter."""
        generation, host = _observing._generation, self._host
        if host is None and is_metrics_enabled():
            metrics = get_metrics()
            if not is_read(metrics):
                self.tell(metrics)
                return
            keep_book(metrics, self)
        if _logger._threshold > _DEBUG:
            self._settled = generation
            if self._host is not host:  # a run began or ended meanwhile
                self._settled = -1

    def tell_reader(self, metrics: Metrics) -> None:
        """Bring the numbers of a provider that reads up to date, unless it takes part in a run, which does that."""
        if self._host is None:
            self.tell(metrics)

    def figures(self) -> tuple[int, int, int, dict[str, int]]:
        """Return how many items were taken and wait now, were merged, and were lost by cause."""
        ring = self._ring
        return (
            (0, 0, 0, {}) if ring is None else (ring.taken, ring.depth(), ring.merged, dict(ring.lost or {}))
        )

    def account(self) -> EdgeAccount:
        """Return what metrics were told about it."""
        with _making:
            if self._account is None:
                self._account = EdgeAccount()
            return self._account

    def tell(self, metrics: Metrics, id: str | None = None) -> None:
        """Bring a metrics provider's numbers about this edge up to date; within a run, the run sees to it.

        Args:
            metrics: The provider.
            id: The label; the edge's own id without.
        """
        if self._ring is not None:
            self.account().tell(metrics, id or self.id, *self.figures())

    # ---- for a run -------------------------------------------------------------------------------------------

    def join(self, host: Host, index: int) -> None:
        """Take part in a run, as edge ``index`` of it.

        Raises:
            RuntimeError: it takes part in another one.
        """
        with _making:
            if self._host is not None:
                raise RuntimeError(
                    f"edge {self.id} takes part in a run already: a graph runs in one scheduler at a time"
                )
            self._index = index
            self._host = host

    def leave(self, host: Host) -> None:
        """Take part in that run no more."""
        if self._host is host:
            self._host = None
            self._settled = -1

    def recount(self) -> None:
        """Know that the ring's counts began anew."""
        if self._account is not None and self._ring is not None:
            self._account.recount(self._ring.depth())

    def has_ring(self) -> bool:
        """Return whether anything was ever put on it."""
        return self._ring is not None

    def ring(self) -> Ring:
        """Return where the items are kept, making it on first use."""
        host = self._host
        if host is None:
            with _making:  # two threads may be the first, and a run may begin meanwhile
                host = self._host
                if host is None:
                    return self.make_ring() if self._ring is None else self._ring
        return host.ring(self._index)

    def make_ring(
        self,
        budget: Budget | None = None,
        clock: Callable[[], int] | None = None,
        kinds: type[PythonEngine] | None = None,
    ) -> Ring:
        """Make the place where the items are kept, or fit the one there is to a run.

        Args:
            budget: Bytes that the edges of the graph share.
            clock: Nanoseconds of the run, for ages.
            kinds: The run's engine, whose kinds of rings are wanted; without one, the engine that would run now.
        """
        ring = self._ring
        limited = self.max_bytes is not None or self.max_age_s is not None or budget is not None
        kinds = kinds or engine_type()
        kind = kinds.limited_ring_type if limited else kinds.ring_type
        if isinstance(ring, kind):
            ring.use(budget, clock or _monotonic_ns)
            return ring
        id, capacity, policy = self.id, max(self._capacity, 0), self._default_policy or _BLOCK
        check = None if self._spec is None else _check_of(self._spec)
        if not limited:
            made = kinds.ring_type(id, capacity, policy, check)
        else:
            from meridian.engine.sizes import payload_bytes

            made = kinds.limited_ring_type(
                id,
                capacity,
                policy,
                check,
                max_bytes=self.max_bytes,
                max_age_ns=None if self.max_age_s is None else round(self.max_age_s * 1e9),
                budget=budget,
                size=self.size or payload_bytes,
                clock=clock or _monotonic_ns,
            )
        if ring is not None:  # filled before the graph's byte budget, or its engine, was known
            made.take_over(ring)
        self._ring = made
        return made

    def __del__(self) -> None:
        if self._account is not None:
            note_gone(self._account, self.id, self.figures())

    def __repr__(self) -> str:
        return f"<Edge {self.id} {self.depth()}/{self._capacity}>"


@dataclass
class _Fields:
    source_node: str
    source_port: Port
    target_node: str
    target_port: Port
    capacity: int = 1024
    spec: PortSpec | None = None
    default_policy: Policy | None = None


# An edge has slots and identity, which a dataclass can't have; replace() and fields() work all the same, as in v1.
Edge.__dataclass_fields__ = _Fields.__dataclass_fields__  # type: ignore[attr-defined]
Edge.__dataclass_params__ = _Fields.__dataclass_params__  # type: ignore[attr-defined]


def _monotonic_ns() -> int:
    from time import monotonic_ns

    return monotonic_ns()


def _check_of(spec: Any) -> Check | None:
    if spec is None:
        return None
    return Check(spec.validate, False) if checks_itself(spec) else compile_schema(spec.schema)


def checks_itself(spec: Any) -> bool:
    """Say whether a spec brings a ``validate`` of its own, which is then asked for each item."""
    return spec is not None and not (isinstance(spec, PortSpec) and type(spec).validate is PortSpec.validate)
