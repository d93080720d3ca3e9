"""Faults: what may go wrong while a graph runs, said in advance and the same in every run.

Each names one node or edge. Counts are *calls* of a node: the messages it handles; for a source, the items it produces;
for a node without inputs, its ticks. (An `Inlet` makes no calls: who feeds it does.) The first call is number 1. Times are virtual seconds since the run began.

No fault loses a message by itself: what a failing handler was given counts as delivered, and its failure is recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Slow:
    """Calls of ``node`` take ``seconds`` longer.

    A plain handler holds up everything meanwhile, as a slow plain handler does; an asynchronous one waits, and others go on.

    Attributes:
        node: Name of the node.
        seconds: How much longer.
        every: Only each n-th call.
    """

    node: str
    seconds: float
    every: int = 1

    def __post_init__(self) -> None:
        _duration(self, "seconds", self.seconds)
        _count(self, "every", self.every)

    def hits(self, call: int) -> bool:
        """Say whether call number ``call`` is slow."""
        return call % self.every == 0


@dataclass(frozen=True, slots=True)
class Fail:
    """Calls of ``node`` raise instead of doing anything. A source that raises has ended, as any generator.

    Attributes:
        node: Name of the node.
        at: Numbers of the calls that fail. Without ``at`` and ``every`` it is the first.
        every: Each n-th call fails too.
        error: What is raised: an exception, or a class of them.
    """

    node: str
    at: tuple[int, ...] = ()
    every: int | None = None
    error: type[Exception] | Exception = RuntimeError

    def __post_init__(self) -> None:
        if not self.at and self.every is None:
            object.__setattr__(self, "at", (1,))
        _numbers(self)
        if self.every is not None:
            _count(self, "every", self.every)
        error: Any = self.error
        if not isinstance(error, Exception) and not (
            isinstance(error, type) and issubclass(error, Exception)
        ):
            raise TypeError(f"Fail(error={error!r}): an exception, or a class of them")

    def hits(self, call: int) -> bool:
        """Say whether call number ``call`` fails."""
        return call in self.at or (self.every is not None and call % self.every == 0)

    def make(self, call: int) -> Exception:
        """Return what call number ``call`` raises."""
        if isinstance(self.error, Exception):
            return self.error
        return self.error(f"injected: call {call} of node {self.node!r} fails")


@dataclass(frozen=True, slots=True)
class CancelWait:
    """What an asynchronous handler of ``node`` waits for is cancelled, once it waits: `asyncio.CancelledError` is raised there.

    That is what happens when somebody else cancels the task or future that it awaits. A call that never waits is not
    hit. A handler that lets the error pass has failed with that message, and the next one follows.

    Attributes:
        node: Name of the node.
        at: Numbers of the calls whose first wait is cancelled.
    """

    node: str
    at: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        _numbers(self)

    def hits(self, call: int) -> bool:
        """Say whether a wait of call number ``call`` is cancelled."""
        return call in self.at


@dataclass(frozen=True, slots=True)
class Full:
    """An edge behaves as if it were full, whatever it holds: it gives, but takes nothing.

    A blocking edge makes its producers wait; an edge with another policy does what that policy does on a full edge of
    capacity 1 (and counts what it loses by that).

    Attributes:
        edge_id: ``source:port->target:port``.
        from_s: When it begins.
        for_s: How long it lasts.
    """

    edge_id: str
    from_s: float = 0.0
    for_s: float = 1.0

    def __post_init__(self) -> None:
        _duration(self, "from_s", self.from_s)
        _duration(self, "for_s", self.for_s)


@dataclass(frozen=True, slots=True)
class Pause:
    """A node is not run for a while; what it is doing already goes on, and its messages wait.

    Attributes:
        node: Name of the node.
        from_s: When it begins.
        for_s: How long it lasts.
    """

    node: str
    from_s: float = 0.0
    for_s: float = 1.0

    def __post_init__(self) -> None:
        _duration(self, "from_s", self.from_s)
        _duration(self, "for_s", self.for_s)


Fault: TypeAlias = Slow | Fail | CancelWait | Full | Pause
"""Any fault."""


def _duration(fault: Any, name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(
            f"{type(fault).__name__}({name}={value!r}): a finite number of seconds that isn't negative"
        )


def _count(fault: Any, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{type(fault).__name__}({name}={value!r}): a whole number of at least 1")


def _numbers(fault: Fail | CancelWait) -> None:
    at: Any = fault.at
    if at.__class__ is not tuple or any(n.__class__ is not int or n < 1 for n in at):
        raise ValueError(
            f"{type(fault).__name__}(at={at!r}): a tuple of call numbers, such as (3,); the first is 1"
        )
