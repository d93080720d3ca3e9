"""What nodes and inlets hold while they take part in a run: their way to it."""

from __future__ import annotations

from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

from meridian.core.message import Message
from meridian.engine.step import To
from meridian.redaction import describe_error
from meridian.runtime.hooks import ticks

if TYPE_CHECKING:
    from collections.abc import Callable

    from meridian.core.node import Node
    from meridian.engine.node import NodeState
    from meridian.runtime.observe import Observer
    from meridian.runtime.run import Run


class Attached:
    """What a node holds while it takes part in a run."""

    __slots__ = ("_bare", "_run", "_state", "emit", "leaving", "name")

    def __init__(self, run: Run, state: NodeState) -> None:
        self._run = run
        self._state = state
        self.name = state.name
        self.emit: Callable[[str, Message[Any]], Message[Any]] = state.make_emit()
        self._bare = self.emit
        self.leaving: Callable[[Any], Any] | None = None
        """What is done to each message that leaves by `send`."""

    def use(self, node: Node, observer: Observer) -> None:
        """Let ``observer`` look at what is emitted, or no longer."""
        self.leaving = observer.leaving(self._state)
        before, self.emit = self.emit, observer.emit(self._state, self._bare)
        if vars(node).get("emit") is before:
            vars(node)["emit"] = self.emit

    async def send(self, port: str, msg: Message[Any]) -> Message[Any]:
        """Send, waiting for room."""
        if self.leaving is not None:
            msg = self.leaving(msg)
        while (full := self._state.blocked_by(port, msg)) is not None:
            await self._run.room_on(full)
        return msg

    def now(self) -> float:
        """Return seconds of the run's clock."""
        return self._run.clock.monotonic_ns() / 1e9

    def tick_in(self, seconds: float) -> None:
        """Let the node tick in so many seconds, besides its regular ticks."""
        run, state = self._run, self._state
        if run.engine.owner != get_ident():
            with suppress(RuntimeError):  # the loop is closed: the run is over
                run.loop.call_soon_threadsafe(self.tick_in, seconds)
        elif state.tick_turn is None and not ticks(run.plan.nodes[state.id].node):
            raise RuntimeError(f"node {self.name!r} asks for a tick, but defines no on_tick")
        else:
            run.tick_in(state.id, seconds)

    def pause(self, port: str | None) -> None:
        """Let the node take no more data."""
        self._state.pause(port)

    def resume(self, port: str | None) -> None:
        """Let the node take data again."""
        self._state.unpause(port)

    def record_error(self, error: BaseException) -> None:
        """Count a failure that the node dealt with itself."""
        self._state.errors += 1
        self._run.record(self.name, "on_message", describe_error(error))


class Feeding:
    """What an `Inlet` holds while it takes part in a run."""

    __slots__ = ("_only", "_run", "_state")

    def __init__(self, run: Run, state: NodeState) -> None:
        self._run = run
        self._state = state
        self._only = state.only_ring()

    def put(self, item: Any) -> bool:
        """Send an item if there is room."""
        run = self._run
        if run.engine.owner != get_ident():
            return self._state.put_from_thread(item)
        done = self._send(item)
        if done:
            run.settle()
        return done

    def push(self, item: Any) -> bool:
        """Send an item if there is room, and run what is due."""
        run = self._run
        if run.engine.running or run.engine.owner != get_ident():
            return self.put(item)
        done = self._send(item)
        if done:
            run.run_now()
        return done

    def _send(self, item: Any) -> bool:
        state, only = self._state, self._only
        cls = item.__class__
        if (
            only is None
            or cls is Message
            or cls is To
            or state.parked
            or not (only.check is None or only.check.passes(item))
        ):
            if state.try_result(item) is not None:
                return False
        elif not only.offer_one(item):
            return False
        state.produced += 1
        return True

    async def room(self, item: Any) -> None:
        """Wait until there may be room."""
        full = self._state.full_for(item)
        if full is not None:
            await self._run.room_on(full)

    def close(self) -> None:
        """Nothing more will come."""
        run, state = self._run, self._state
        if run.engine.owner != get_ident():
            run.loop.call_soon_threadsafe(self.close)
        elif not state.closed:
            state.closed = True
            run.source_ended()


class TracedFeeding(Feeding):
    """The same while tracing is on: what is sent begins a trace, or goes on with that of the caller."""

    __slots__ = ("_entering",)

    def __init__(self, run: Run, state: NodeState, entering: Callable[[Any], Any]) -> None:
        super().__init__(run, state)
        self._entering = entering

    def put(self, item: Any) -> bool:
        """Send an item if there is room."""
        if self._run.engine.owner != get_ident():
            return self._state.put_from_thread(self._entering(item))
        return super().put(item)

    def _send(self, item: Any) -> bool:
        if self._state.full_for(item) is not None:  # what is tried again later begins its trace then
            return False
        return super()._send(self._entering(item))
