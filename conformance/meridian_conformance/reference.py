"""Meridian's own Python edge as a backend: the second of the three parties.

`meridian.core.edge.Edge` has no waiting calls of its own: what waits in a run is a turn of the engine, in the ring's list of
waiters. The adapter waits in that very list, with turns that set futures, as ``await node.send(...)`` does in a run, and a real
engine runs those turns. So what is judged here is the ring's own parking and waking. Two things are the adapter's, because
an edge by itself hasn't got them: the lines in which several waiters stand (in a run each of them is a node of its own), and
`close` (which in a run is the end of the node).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from meridian.core.edge import Edge
from meridian.core.message import CONTROL, Message, Scope
from meridian.core.policies import Coalesce, Policy, block, drop, latest
from meridian.core.ports import Port, PortDirection
from meridian.engine.kernel import PythonEngine
from meridian.engine.select import engine_type
from meridian_conformance.contract import CLOSED, EMPTY, Capability, EdgeSpec, Put, size_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from meridian.engine.ring import Budget, Ring
    from meridian_conformance.contract import Counters


def rust_engine() -> type[PythonEngine]:
    """Return Meridian's Rust engine.

    Raises:
        EngineError: it isn't installed.
    """
    return engine_type("rust")


_POLICIES: Final[dict[str, Callable[[], Policy]]] = {"block": block, "drop": drop, "latest": latest}


class _TimedEdge(Edge[Any]):
    """Meridian's edge, living by the clock that the kit gives rather than by the system's."""

    __slots__ = ("now_ns",)

    now_ns: Callable[[], int]

    def make_ring(
        self,
        budget: Budget | None = None,
        clock: Callable[[], int] | None = None,
        kinds: type[PythonEngine] | None = None,
    ) -> Ring:
        return super().make_ring(budget, clock or self.now_ns, kinds)


class ReferenceEdge:
    """One of Meridian's own edges.

    Attributes:
        spec: What was opened.
        edge: The edge.
        ring: Where it keeps its items.
        closed: It takes nothing more.
        engine_type: The engine whose ring it is, and in whose lists one waits.
    """

    engine_type: type[PythonEngine] = PythonEngine

    def __init__(self, spec: EdgeSpec) -> None:
        self.spec = spec
        self.closed = False
        self.edge = _TimedEdge(
            "producer",
            Port("out", PortDirection.OUTPUT),
            "consumer",
            Port("in", PortDirection.INPUT),
            spec.capacity,
            default_policy=self.policy(),
            max_bytes=spec.max_bytes,
            max_age_s=spec.max_age_s,
            size=size_of,
        )
        self.edge.now_ns = self._now_ns
        self.ring: Ring = self.edge.make_ring(kinds=self.engine_type)
        self.ring.owner = get_ident()  # as in a run: one thread is the engine's, the others are strangers
        self.waiting: _Waiting | None = None

    def policy(self) -> Policy:
        """Make the policy."""
        made = _POLICIES.get(self.spec.policy)
        return Coalesce(self.spec.merge) if made is None else made()

    def _now_ns(self) -> int:
        return round(self.spec.clock() * 1e9)

    # ---- the five --------------------------------------------------------------------------------------------

    def put(self, item: Any) -> str:
        if self.closed:
            return Put.CLOSED
        return self.edge.try_put(item).name

    def get(self) -> Any:
        try:
            item = self.ring.get()  # Edge.try_get can't tell a queued None from empty
        except IndexError:
            if self.waiting is not None:
                self.waiting.is_empty()
            return EMPTY
        return item.payload if isinstance(item, Message) else item

    def depth(self) -> int:
        return self.edge.depth()

    def counters(self) -> Counters:
        ring = self.ring
        return {
            "accepted": ring.accepted(),
            "delivered": ring.taken,
            "merged": ring.merged,
            "lost": dict(ring.lost or {}),
        }

    def close(self) -> None:
        self.closed = True
        if self.waiting is not None:
            self.waiting.let_all_on()

    # ---- what it can besides ---------------------------------------------------------------------------------

    def put_control(self, item: Any) -> str:
        if self.closed:
            return Put.CLOSED
        return self.edge.try_put(Message(CONTROL, item)).name

    async def put_wait(self, item: Any) -> str:
        waiting = self.parking()
        if not waiting.producers.locked() and (result := self.put(item)) != Put.BLOCKED:
            return result
        async with waiting.producers:
            while (result := self.put(item)) == Put.BLOCKED:
                await waiting.for_room()
        return result

    async def get_wait(self) -> Any:
        waiting = self.parking()
        async with waiting.consumers:
            while (item := self.get()) is EMPTY:
                if self.closed:
                    return CLOSED
                await waiting.for_item()
        return item

    def parking(self) -> _Waiting:
        """Return where one waits on this edge, of the running loop."""
        if self.waiting is None:
            self.waiting = _Waiting(self.ring, self.engine_type)
        return self.waiting

    def held(self) -> list[Any]:
        """Return what the ring holds, in the order of delivery."""
        return [item.payload for item in self.ring.control or ()] + list(self.ring.items)

    def __repr__(self) -> str:
        return repr(self.edge)


class _Waiting:
    """An engine that has nothing to do but to let waiters of one ring on.

    Attributes:
        producers: The line of producers; its head waits for room.
        consumers: The line of consumers; its head waits for an item.
        served: The ring's turn; queued while the ring holds items, as an engine's is.
    """

    def __init__(self, ring: Ring, engine_type: type[PythonEngine]) -> None:
        self.loop = asyncio.get_running_loop()
        self.ring = ring
        self.producers = asyncio.Lock()
        self.consumers = asyncio.Lock()
        self.item: asyncio.Future[None] | None = None
        self.engine = engine = engine_type(Scope(), clock=lambda: round(self.loop.time() * 1e9))
        self._armed = False
        engine.attach(ring, 0, "in", 2)
        engine.arm = self._arm
        engine.arm_from_thread = self._arm_from_thread
        ring.turn = ring.control_turn = self.served = turn = engine.turn(0, 2)
        turn.ring = ring
        turn.run = self._item_came

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self.loop.call_soon(self._slice)

    def _arm_from_thread(self) -> None:
        self.loop.call_soon_threadsafe(self._arm)

    def _slice(self) -> None:
        self._armed = False
        if self.engine.run(500, 1_000_000_000):
            self._arm()

    def _item_came(self) -> int:
        if self.item is not None and not self.item.done():
            self.item.set_result(None)
        self.served.queued = bool(self.ring.items)  # as a step that leaves items behind
        return 1

    def is_empty(self) -> None:
        """Somebody found nothing here: the next item wakes again."""
        self.served.queued = False

    async def for_room(self) -> None:
        """Wait in the ring's own list until it lets its waiters on."""
        woken: asyncio.Future[None] = self.loop.create_future()
        turn = self.engine.turn(0, 2)

        def wake() -> int:
            if not woken.done():
                woken.set_result(None)
            return 1

        turn.run = wake
        self.engine.now = self.engine.clock()
        self.ring.wait(turn)
        try:
            await woken
        finally:
            self.ring.forget(turn)

    async def for_item(self) -> None:
        """Wait until data comes to the empty ring."""
        self.item = self.loop.create_future()
        try:
            await self.item
        finally:
            self.item = None

    def let_all_on(self) -> None:
        """Let the heads of both lines on; each lets the next one on."""
        self.ring.release(True)
        self._item_came()


class RustEdge(ReferenceEdge):
    """One of Meridian's own edges, on its Rust engine."""

    def __init__(self, spec: EdgeSpec) -> None:
        self.engine_type = rust_engine()
        super().__init__(spec)


class ReferenceBackend:
    """Opens Meridian's own edges."""

    name = "python"
    capabilities: Collection[str] = frozenset(
        {
            Capability.ASYNC,
            Capability.THREADS,
            Capability.BYTES_LIMIT,
            Capability.AGE_LIMIT,
            Capability.CONTROL,
            Capability.METRICS,
        }
    )
    edge_type: type[ReferenceEdge] = ReferenceEdge

    def open(self, spec: EdgeSpec) -> ReferenceEdge:
        """Open an edge.

        Raises:
            ValueError: there can't be such an edge.
        """
        if spec.capacity < 1:
            raise ValueError(f"capacity is {spec.capacity}, it has to be at least 1")
        if spec.policy != "coalesce" and spec.policy not in _POLICIES:
            raise ValueError(f"{spec.policy!r} is no policy")
        return self.edge_type(spec)

    def raw_items(self, edge: ReferenceEdge) -> list[Any]:
        """Return what ``edge`` holds, read from its ring."""
        return edge.held()

    def open_metered(self, spec: EdgeSpec) -> ReferenceEdge:
        """Open an edge with its metrics on: the same, for its totals derive from the ring when somebody reads them."""
        return self.open(spec)


class RustBackend(ReferenceBackend):
    """Opens Meridian's own edges on the Rust engine.

    Raises:
        EngineError: it isn't installed.
    """

    name = "rust"
    edge_type = RustEdge

    def __init__(self) -> None:
        rust_engine()
