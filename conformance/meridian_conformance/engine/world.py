"""The world in which the nodes of an engine work: it does what they are for, and writes down all that happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.engine.contract import Graph, WorkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meridian_conformance.engine.contract import Ended

RESULTS: Final = {"sink": 0, "burst": 3}
"""How many results each kind of work has, if not one."""


@dataclass(eq=False, slots=True)
class Work:
    """Asynchronous work on one item.

    Attributes:
        node: Who does it.
        nth: The number of the item, among all that the node took.
        tell: Tells the engine that it ended.
        made: The results that were taken from it so far, in order.
        state: ``going on``; ``ended``: the engine was told so; ``over``: nothing more will come of it.
    """

    node: int
    nth: int
    tell: Ended
    made: list[int] = field(default_factory=list[int])
    state: str = "going on"


class Record:
    """A `World` that writes down all that happens in it.

    Attributes:
        handled: Data that was handled, or whose work was begun, by edge, in order.
        obeyed: CONTROL that was handled, by edge, in order.
        raised: How often each node failed; cancelled work is a failure, too.
        ended: Sources that have no more items.
        did: What happened since it was last cleared: (node, edge) of each message, edge -1 for an item of a source, -2 for CONTROL.
        works: All asynchronous work of each node, in the order in which it was begun.
        in_work: That which goes on, in the order in which it was begun.
        most: How many items each node worked on at once.
        hurried: So many works from now on end as soon as they are begun.
        now: Seconds.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.handled: list[list[int]] = [[] for _ in graph.links]
        self.obeyed: list[list[int]] = [[] for _ in graph.links]
        self.raised = [0] * len(graph.nodes)
        self.count = [0] * len(graph.nodes)
        self.ended: set[int] = set()
        self.did: list[tuple[int, int]] = []
        self.serial = 0
        self.works: list[list[Work]] = [[] for _ in graph.nodes]
        self.in_work: list[Work] = []
        self.most = [0] * len(graph.nodes)
        self.hurried = 0
        self.now = 1_000.0
        self._results: list[list[int]] = [[] for _ in graph.nodes]

    def clock(self) -> float:
        return self.now

    def new(self) -> int:
        """Return an item that there wasn't before."""
        self.serial += 1
        return self.serial

    # ---- nodes that don't wait -------------------------------------------------------------------------------

    def produce(self, node: int) -> Iterator[int]:
        for _ in range(self.graph.nodes[node].items):
            item = self.new()
            self.did.append((node, -1))
            self._results[node].append(item)
            yield item
        self.ended.add(node)

    def handle(self, node: int, link: int, item: Any) -> Iterator[int]:
        if self.graph.nodes[node].style == "async":
            raise TypeError(f"node {node} is asynchronous: its work begins with start")
        return self._made(node, self._took(node, link, item))

    def handle_control(self, node: int, link: int, item: Any) -> None:
        self.did.append((node, -2))
        self.obeyed[link].append(item)

    def _took(self, node: int, link: int, item: int) -> int:
        self.did.append((node, link))
        self.handled[link].append(item)
        self.count[node] += 1
        return self.count[node]

    def _made(self, node: int, nth: int, work: Work | None = None) -> Iterator[int]:
        kind = self.graph.nodes[node].work
        if kind == "fail" and nth % 3 == 0:
            self._fail(node, work)
        left = RESULTS.get(kind, 1)
        while left:
            left -= 1
            item = self.new()
            self._results[node].append(item)
            if work is not None:
                work.made.append(item)
                work.state = "ended" if left else "over"
            yield item
        if work is not None:
            work.state = "over"

    def _fail(self, node: int, work: Work | None) -> None:
        self.raised[node] += 1
        if work is not None:
            work.state = "over"
        raise WorkError("the code of this node fails now")

    # ---- nodes that do ---------------------------------------------------------------------------------------

    def start(self, node: int, link: int, item: Any, ended: Ended) -> None:
        work = Work(node, self._took(node, link, item), ended)
        self.works[node].append(work)
        self.in_work.append(work)
        self.most[node] = max(self.most[node], self.working(node))
        if self.hurried:
            self.hurried -= 1
            self.end(work)

    def working(self, node: int) -> int:
        """Return how many works of a node go on."""
        return sum([work.node == node for work in self.in_work])

    def places(self, node: int) -> int:
        """Return how many of a node's places are taken: work whose results wait for their turn keeps its own."""
        spec = self.graph.nodes[node]
        if not spec.ordered:
            return self.working(node)
        works = self.works[node]
        first = next((n for n, work in enumerate(works) if work.state == "going on"), len(works))
        return len(works) - first

    def end(self, work: Work, how: str = "finish") -> None:
        """Let work end: ``finish``, ``fail`` or ``cancel`` it."""
        self.in_work.remove(work)
        if how == "cancel":
            self.raised[work.node] += 1
            work.state = "over"
            work.tell(None)
            return
        work.state = "ended"
        work.tell(self._made(work.node, work.nth, work) if how == "finish" else self._failing(work))

    def _failing(self, work: Work) -> Iterator[int]:
        yield from ()
        self._fail(work.node, work)

    # ---- what must have been emitted -------------------------------------------------------------------------

    def results(self, node: int) -> list[int]:
        """Return what a node's code gave out so far, in order."""
        return self._results[node]

    def emitted(self, node: int) -> list[int]:
        """Return what a node has to have emitted, in order: its results, but for those that wait for their turn."""
        spec = self.graph.nodes[node]
        if spec.concurrency == 1 or not spec.ordered:
            return self._results[node]
        emitted: list[int] = []
        for work in self.works[node]:
            emitted += work.made
            if work.state != "over":
                break
        return emitted
