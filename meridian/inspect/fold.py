"""Subgraphs as boxes that unfold.

Names of nodes say where they stand: ``shop/orders/parse`` is in the subgraph ``shop/orders``, which is in ``shop``. What isn't
unfolded is one box. Edges within it are not seen; those that leave or enter it are, with the nodes they end at in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from meridian.introspect import EdgeSnapshot, NodeSnapshot


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between boxes.

    Attributes:
        id: Of the edge.
        source: Box that it leaves.
        port: Where it leaves; edges of one box and port leave together.
        target: Box that it enters.
    """

    id: str
    source: str
    port: str
    target: str


@dataclass(frozen=True, slots=True)
class Folded:
    """What is to be drawn.

    Attributes:
        boxes: Each box and its nodes; a node that stands for itself is its only one.
        links: Between boxes, in connect order.
    """

    boxes: dict[str, tuple[str, ...]]
    links: tuple[Link, ...]

    def is_group(self, box: str) -> bool:
        """Say whether a box stands for a subgraph."""
        return self.boxes[box] != (box,)


def box_of(name: str, unfolded: Set[str]) -> str:
    """Return the box that a node is drawn in: its outermost subgraph that isn't unfolded, or itself."""
    at = name.find("/")
    while at > 0:
        if name[:at] not in unfolded:
            return name[:at]
        at = name.find("/", at + 1)
    return name


def fold(nodes: Sequence[NodeSnapshot], edges: Iterable[EdgeSnapshot], unfolded: Set[str]) -> Folded:
    """Put nodes into boxes.

    Args:
        nodes: Of a snapshot.
        edges: Of the same.
        unfolded: Subgraphs whose parts are drawn one by one.

    Cost: O(nodes + edges).
    """
    box = {node.name: box_of(node.name, unfolded) for node in nodes}
    members: dict[str, list[str]] = {}
    for name, into in box.items():  # of names that redaction made equal there is one
        members.setdefault(into, []).append(name)
    links = []
    for edge in {edge.id: edge for edge in edges}.values():
        source, target = box.get(edge.source), box.get(edge.target)
        if source is None or target is None or (source == target and edge.source != edge.target):
            continue
        port = edge.source_port if source == edge.source else f"{edge.source}:{edge.source_port}"
        links.append(Link(edge.id, source, port, target))
    return Folded({name: tuple(inside) for name, inside in members.items()}, tuple(links))


def around(folded: Folded, middle: str, most: int) -> Folded:
    """Return the part of a graph that is nearest to one box, of at most ``most`` boxes."""
    beside: dict[str, list[str]] = {name: [] for name in folded.boxes}
    for link in folded.links:
        beside[link.source].append(link.target)
        beside[link.target].append(link.source)
    kept = dict.fromkeys([middle])
    queue = [middle]
    while queue and len(kept) < most:
        following = []
        for name in queue:
            for other in beside[name]:
                if other not in kept and len(kept) < most:
                    kept[other] = None
                    following.append(other)
        queue = following
    return Folded(
        {name: inside for name, inside in folded.boxes.items() if name in kept},
        tuple(link for link in folded.links if link.source in kept and link.target in kept),
    )
