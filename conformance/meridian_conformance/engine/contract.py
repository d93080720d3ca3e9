"""What an engine implements so that the kit can judge it.

An engine runs a graph of nodes and bounded edges, slice by slice. A backend is one class::

    class Backend:
        capabilities = set()

        def open(
            self, graph: Graph, world: World
        ) -> Engine: ...  # a fresh engine with that graph

The kit says what the nodes do (`World`), and drives the engine by a few calls. They are those by which `meridian.runtime`
drives one: run a slice, put something on an edge from outside, pause and resume a node, ask for totals.

Two things an engine may lack, and each has a capability. ``async``: nodes of style ``async``, whose work ends when the kit
says so (`World.start`). ``limits``: edges with bytes and ages, graphs with a byte budget (`Engine.held` shows what is queued).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from meridian_conformance.contract import Capability

if TYPE_CHECKING:
    from meridian_conformance.contract import Counters

STYLES: Final = ("source", "call", "map", "stream", "async")
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
            ``stream``: its results are pulled as there is room for them, and the rest later. ``async``: its work is
            begun with ``world.start`` and ends when the kit says so. Only asked of engines with capability ``async``.
        work: What it does with an item. ``pass``: one result. ``burst``: three. ``fail``: raises for every third item,
            else one. ``sink``: no result.
        items: How many items a source has.
        concurrency: How many items an asynchronous node works on at once. More than one only where it has one input
            and one result at most.
        ordered: The results of an asynchronous node leave in the order in which its items came, so a slow one holds
            back those behind it; if not, as soon as they are there.
    """

    style: str = "call"
    work: str = "pass"
    items: int = 0
    concurrency: int = 1
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """An edge from the output of one node to an input of another.

    Attributes:
        source: Number of the node that it leaves.
        target: Number of the node that it enters, through an input of its own.
        capacity: Most items that it holds.
        policy: ``block``, ``drop``, ``latest``, or ``coalesce``, where the newer item replaces the older.
        max_bytes: Most bytes that the queued data may have together, by `size_of`; or ``None``. No item is larger.
        max_age_s: Data that was queued for more than that many seconds is not delivered but lost, cause ``expired``; or ``None``.
    """

    source: int
    target: int
    capacity: int = 2
    policy: str = "block"
    max_bytes: int | None = None
    max_age_s: float | None = None

    @property
    def lossless(self) -> bool:
        """Whether nothing that it accepted is ever lost or merged."""
        return self.policy == "block" and self.max_age_s is None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, by number, and edges, by number. It has no cycles.

    Attributes:
        nodes: The nodes.
        links: The edges.
        budget: Most bytes that the data queued on all edges may have together, or ``None``. As with an edge that is full,
            the policy says what becomes of an item that would exceed it.
    """

    nodes: tuple[NodeSpec, ...]
    links: tuple[Link, ...]
    budget: int | None = None

    def leaving(self, node: int) -> tuple[int, ...]:
        """Return the edges that leave a node."""
        return tuple(n for n, link in enumerate(self.links) if link.source == node)

    def entering(self, node: int) -> tuple[int, ...]:
        """Return the edges that enter a node."""
        return tuple(n for n, link in enumerate(self.links) if link.target == node)

    def longest_way(self) -> int:
        """Return the number of edges on the longest way from a source."""
        steps = [0] * len(self.nodes)
        for _ in self.nodes:
            for link in self.links:
                steps[link.target] = max(steps[link.target], steps[link.source] + 1)
        return max(steps)

    def needs(self) -> frozenset[str]:
        """Return the capabilities without which this graph can't be run."""
        limited = self.budget is not None or any(
            link.max_bytes is not None or link.max_age_s is not None for link in self.links
        )
        waits = any(node.style == "async" for node in self.nodes)
        return frozenset([Capability.LIMITS] * limited + [Capability.ASYNC] * waits)

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "links": [asdict(link) for link in self.links],
            "budget": self.budget,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """Make one from that form."""
        nodes = tuple(NodeSpec(**node) for node in data["nodes"])
        return cls(nodes, tuple(Link(**link) for link in data["links"]), data.get("budget"))


LARGEST: Final = 4
"""Most bytes that an item of the kit has."""


def size_of(item: int) -> int:
    """Return the bytes that an item counts for: 1 to `LARGEST`."""
    return (1, 3, 1, 2, LARGEST)[item % 5]


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

    def start(self, node: int, link: int, item: Any, ended: Ended) -> None:
        """Begin the work of an asynchronous node on an item that came over an edge; instead of `handle`.

        Args:
            node: The node.
            link: The edge.
            item: The item.
            ended: Called once when the work ends, within this call or any time later between two slices. With the results: iterate
                over them, which may raise `WorkError`, and emit each as it comes, or as soon as it is its turn. With
                ``None``: the work was cancelled; that counts as a failure of this item, and has no results.
        """
        ...

    def clock(self) -> float:
        """Tell the seconds; ages are told by this and by nothing else."""
        ...


Ended: TypeAlias = Callable[[Iterator[Any] | None], None]
"""What the kit calls when asynchronous work ends."""


class WorkError(Exception):
    """What failing nodes raise."""


@runtime_checkable
class Engine(Protocol):
    """What a backend opens. All calls come from one thread.

    With capability ``limits`` it also has ``held(link)``: the data that waits on an edge, the oldest first. An engine that
    has something to tidy up may have ``close()``, which is called when its history is over.
    """

    def step(self) -> bool:
        """Run one slice: up to `MAX_BATCH` messages of one edge, or items of one source. Return whether more is due.

        Asynchronous work in progress isn't due. Its next item may also be begun when `Ended` is called, without a slice.
        """
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
