"""Wiring with operators: ``source >> parse["ok"] >> count``.

An expression describes edges and changes nothing; `Subgraph.add_flow`, or `graph`, turns it into ordinary nodes and
edges. The same function may stand in several expressions of one graph: it is one node there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from meridian.core import places
from meridian.core.policies import Policy, as_policy


class Wirable:
    """What may stand on either side of ``>>``."""

    def __rshift__(self, other: Any) -> Flow:
        flow: Flow = Flow.of(self) >> other
        return flow

    def __rrshift__(self, other: Any) -> Flow:
        return Flow.of(other) >> self

    def __getitem__(self, port: str) -> PortRef:
        """Name one of its ports: an output on the left of ``>>``, an input on the right.

        Between two ``>>`` it names both, or whichever of the two the node has; the other end must then be its only one.
        """
        if not isinstance(port, str):
            raise TypeError(f"{self!r}[...]: name a port, such as [{'output'!r}]; got {type(port).__name__}")
        return PortRef(self, port)

    __iter__ = None  # a port can be asked for by name; that does not make this a sequence


@dataclass(frozen=True, slots=True, eq=False)
class PortRef(Wirable):
    """One named port of something that can be wired."""

    owner: Wirable
    port: str


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """How the next edge of an expression is made; see `via`."""

    capacity: int = 1024
    policy: Policy | None = None
    max_bytes: int | None = None
    max_age_s: float | None = None
    size: Callable[[Any], int] | None = None

    def __rrshift__(self, other: Any) -> Flow:
        return Flow.of(other) >> self


def via(
    *,
    capacity: int = 1024,
    policy: Any = None,
    max_bytes: int | None = None,
    max_age_s: float | None = None,
    size: Callable[[Any], int] | None = None,
) -> EdgeOptions:
    """Say how the edge between two nodes is made.

    It stands between them: ``a >> via(capacity=1, policy=latest()) >> b``.

    Args:
        capacity: Most items it holds.
        policy: What happens when it is full; blocks unless set.
        max_bytes: Most bytes it holds.
        max_age_s: Oldest age at which an item is still delivered, in seconds.
        size: Tells the bytes of a payload.
    """
    return EdgeOptions(capacity, as_policy(policy), max_bytes, max_age_s, size)


@dataclass(frozen=True, slots=True)
class Link:
    """One edge to be."""

    source: PortRef | Wirable
    target: PortRef | Wirable
    options: EdgeOptions


class Flow:
    """A wiring expression: links, and the loose ends that the next ``>>`` goes on from.

    Attributes:
        links: The edges so far.
        ends: What stands at the right end.
        owners: Everything that was named, in order.
    """

    __slots__ = ("_options", "ends", "links", "owners")

    def __init__(
        self,
        links: list[Link],
        ends: list[Wirable],
        owners: list[Wirable],
        options: EdgeOptions | None = None,
    ) -> None:
        self.links = links
        self.ends = ends
        self.owners = owners
        self._options = options

    @classmethod
    def of(cls, what: Any) -> Flow:
        """Make an expression of one node, function, port, or a list of them."""
        if isinstance(what, Flow):
            return what
        ends = list(what) if isinstance(what, Sequence) and not isinstance(what, (str, bytes)) else [what]
        ends = [_as_wirable(end) for end in ends]
        return cls([], ends, [owner_of(end) for end in ends])

    def __rshift__(self, other: Any) -> Flow:
        if isinstance(other, EdgeOptions):
            if self._options is not None:
                raise TypeError("two via(...) in a row: one edge has one set of options")
            if places.current is not None:
                places.current.note(other)
            return Flow(self.links, self.ends, self.owners, other)
        if isinstance(other, Flow):
            if other._options is not None or not other.links:
                raise TypeError("the right side of >> ends in via(...): put a node behind it")
            raise TypeError("wire from left to right: a >> b >> c, without brackets around the right side")
        right = Flow.of(other)
        options = self._options or EdgeOptions()
        links = [Link(source, target, options) for source in self.ends for target in right.ends]
        if places.current is not None:
            places.current.note_links(links, self._options)
        return Flow([*self.links, *links], right.ends, [*self.owners, *right.owners])

    def __rrshift__(self, other: Any) -> Flow:
        return Flow.of(other) >> self

    @property
    def open_ended(self) -> bool:
        """Whether it ends in ``via(...)`` with nothing behind."""
        return self._options is not None


def owner_of(end: Wirable) -> Wirable:
    """Return the node or function that ``end`` is a port of."""
    return end.owner if isinstance(end, PortRef) else end


def _as_wirable(end: Any) -> Wirable:
    if isinstance(end, Wirable):
        return end
    if callable(end):
        raise TypeError(
            f"{getattr(end, '__name__', 'a function')!r} is a plain function: decorate it with @node or wrap it in sink()"
        )
    if isinstance(end, (EdgeOptions, Flow)):
        raise TypeError(
            "a list has nodes only, and via(...) stands between two of them: give graph() an expression for each edge that "
            "differs, a >> via(...) >> b, a >> c"
        )
    raise TypeError(
        f"{type(end).__name__} can't be wired: use nodes, @node functions, source(...), sink(...), or a list of them"
    )
