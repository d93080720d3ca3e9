"""How far a run has got with starting and stopping its nodes, for whoever looks at it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Hook(NamedTuple):
    """A hook of a node's life cycle that goes on.

    Attributes:
        node: The node, by its index.
        phase: ``on_start``, ``on_drain`` or ``on_stop``.
        since_ns: When it began.
        work: What it awaits, once it does.
    """

    node: int
    phase: str
    since_ns: int
    work: Coroutine[Any, Any, Any] | None = None


class LifeCycle:
    """Which nodes of a run were started and stopped.

    Attributes:
        started: How many had their turn to start, in the order of the plan.
        failed: Those that could not be started.
        stopped: Those whose turn to stop is over.
        hook: What goes on, of at most one node at a time.
    """

    __slots__ = ("failed", "hook", "started", "stopped")

    def __init__(self) -> None:
        self.started = 0
        self.failed: set[int] = set()
        self.stopped: set[int] = set()
        self.hook: Hook | None = None

    def state(self, index: int, *, over: bool) -> str:
        """Return the state of a node; ``over`` says that the run has ended."""
        if index in self.failed:
            return "failed"
        if over or index in self.stopped:
            return "stopped"
        return "started" if index < self.started else "unstarted"
