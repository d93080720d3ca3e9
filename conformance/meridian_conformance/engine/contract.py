"""What an engine implements so that the kit can judge it.

An engine runs a graph of nodes and bounded edges, slice by slice. A backend is one class::

    class Backend:
        capabilities = set()

        def open(
            self, graph: Graph, world: World
        ) -> Engine: ...  # a fresh engine with that graph

The kit says what the nodes do (`World`), and drives the engine by a few calls. They are those by which `meridian.runtime`
drives one: run a slice, put something on an edge from outside, pause and resume a node, ask for totals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from meridian_conformance.contract import Counters

STYLES: Final = ("source", "call", "map", "stream")
WORK: Final = ("pass", "burst", "fail", "sink")
OUT: Final = "out"
"""The one output port of every node; several edges may leave it."""

MAX_BATCH: Final = 8
"""Most messages of one slice."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a node is.

    Attributes:
        style: How its results leave it. ``source``: the engine pulls items from ``world.produce``. ``call``: ``world.handle`` is
            iterated and each result emitted as it comes. ``map``: it has one result at most, which is returned.
            ``stream``: its results are pulled as there is room for them, and the rest later.
        work: What it does with an item. ``pass``: one result. ``burst``: three. ``fail``: raises for every third item,
            else one. ``sink``: no result.
        items: How many items a source has.
    """

    style: str = "call"
    work: str = "pass"
    items: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """An edge from the output of one node to an input of another.

    Attributes:
        source: Number of the node that it leaves.
        target: Number of the node that it enters, through an input of its own.
        capacity: Most items that it holds.
        policy: ``block``, ``drop``, ``latest``, or ``coalesce``, where the newer item replaces the older.
    """

    source: int
    target: int
    capacity: int = 2
    policy: str = "block"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, by number, and edges, by number. It has no cycles."""

    nodes: tuple[NodeSpec, ...]
    links: tuple[Link, ...]

    def leaving(self, node: int) -> tuple[int, ...]:
        """Return the edges that leave a node."""
        return tuple(n for n, link in enumerate(self.links) if link.source == node)

    def entering(self, node: int) -> tuple[int, ...]:
        """Return the edges that enter a node."""
        return tuple(n for n, link in enumerate(self.links) if link.target == node)

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "links": [asdict(link) for link in self.links],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """Make one from that form."""
        nodes = tuple(NodeSpec(**node) for node in data["nodes"])
        return cls(nodes, tuple(Link(**link) for link in data["links"]))


class World(Protocol):
    """What the nodes do; given by the kit. An engine calls it for each message, once."""

    def produce(self, node: int) -> Iterator[Any]:
        """Return the items of a source, to be pulled one by one when there is room for one more."""
        ...

    def handle(self, node: int, link: int, item: Any) -> Iterator[Any]:
        """Handle an item that came over an edge; iterate over the results, all of which leave through `OUT`.

        Raises:
            WorkError: from the iteration; a node's code may fail, and the engine goes on.
        """
        ...

    def handle_control(self, node: int, link: int, item: Any) -> None:
        """Handle a CONTROL item."""
        ...


class WorkError(Exception):
    """What failing nodes raise."""


@runtime_checkable
class Engine(Protocol):
    """What a backend opens. All calls come from one thread."""

    def step(self) -> bool:
        """Run one slice: up to `MAX_BATCH` messages of one edge, or items of one source. Return whether more is due."""
        ...

    def offer(self, link: int, item: Any, /) -> str:
        """Put data on an edge from outside, without waiting; return a `Put` or its name."""
        ...

    def control(self, link: int, item: Any, /) -> str:
        """Put CONTROL on an edge from outside: ``OK``, or ``BLOCKED`` when it is full. Only asked for nodes of style ``call``."""
        ...

    def pause(self, node: int, /) -> None:
        """Give a node no more data; CONTROL still comes."""
        ...

    def resume(self, node: int, /) -> None:
        """Give it data again."""
        ...

    def depth(self, link: int, /) -> int:
        """Return how many items an edge holds."""
        ...

    def counters(self, link: int, /) -> Counters:
        """Return the totals of an edge, CONTROL included."""
        ...

    def parked(self, node: int, /) -> int:
        """Return how many emissions of a node wait with it for room."""
        ...

    def errors(self, node: int, /) -> int:
        """Return how often its code failed."""
        ...


@runtime_checkable
class EngineBackend(Protocol):
    """What a third party writes."""

    capabilities: Collection[str]

    def open(self, graph: Graph, world: World, /) -> Engine:
        """Open an engine that is ready to run its first slice."""
        ...
