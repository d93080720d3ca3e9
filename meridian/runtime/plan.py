"""The plan: what was declared, flattened and frozen for one run.

Nested graphs disappear here: their nodes get the names of the graphs around them as prefix (``outer/inner/node``), and
an edge to an exposed port leads to the inner node behind it. Graphs registered side by side share one name space.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian.core.subgraph import Subgraph

if TYPE_CHECKING:
    from meridian.core.edge import Edge
    from meridian.core.node import Node


class PlannedNode(NamedTuple):
    """A node and its name within the whole plan."""

    name: str
    node: Node


class PlannedEdge(NamedTuple):
    """An edge between planned nodes.

    Attributes:
        id: Its id within the whole plan.
        edge: The declared edge.
        source: Index of the node it leaves.
        port: The output it leaves.
        target: Index of the node it enters.
        target_port: The input it enters.
        graph: Index of the graph whose byte budget it counts for.
    """

    id: str
    edge: Edge[Any]
    source: int
    port: str
    target: int
    target_port: str
    graph: int


class Plan(NamedTuple):
    """Everything one run needs to know.

    Attributes:
        nodes: In start order: as registered, graph by graph.
        edges: In connect order.
        budgets: Most bytes of each graph, or ``None``.
    """

    nodes: list[PlannedNode]
    edges: list[PlannedEdge]
    budgets: list[int | None]

    def levels(self) -> list[int]:
        """Return for each node the number of edges on the longest way to it; edges that close a cycle don't count."""
        feeds: list[list[int]] = [[] for _ in self.nodes]
        for edge in self.edges:
            feeds[edge.source].append(edge.target)
        order = self.stop_order()[::-1]
        position = {node: i for i, node in enumerate(order)}
        levels = [0] * len(self.nodes)
        for node in order:
            for target in feeds[node]:
                if position[target] > position[node]:
                    levels[target] = max(levels[target], levels[node] + 1)
        return [max(level, 1) for level in levels]  # a node that feeds only itself

    def budget_shares(self) -> list[int]:
        """Return for each edge how much of its graph's byte budget may be in use for it to take more; see `Budget`.

        It grows in equal steps from the sources to the sinks, where it is all of it. 0 where there is no budget.
        """
        levels = self.levels()
        most: dict[int, int] = {}
        for edge in self.edges:
            most[edge.graph] = max(most.get(edge.graph, 1), levels[edge.target])
        return [
            0 if limit is None else max(limit - (steps - levels[edge.target]) * (limit // steps), 1)
            for edge in self.edges
            for limit, steps in ((self.budgets[edge.graph], most[edge.graph]),)
        ]

    def stop_order(self) -> list[int]:
        """Return node indices in reverse topological order: consumers before their producers.

        Within a cycle, and among nodes that no edge joins, in reverse start order.
        """
        waiting = [0] * len(self.nodes)
        feeds: list[list[int]] = [[] for _ in self.nodes]
        for edge in self.edges:
            if edge.source != edge.target:
                waiting[edge.target] += 1
                feeds[edge.source].append(edge.target)
        order: list[int] = []
        done = [False] * len(self.nodes)
        free = [i for i in reversed(range(len(self.nodes))) if not waiting[i]]
        stuck = iter(range(len(self.nodes)))
        while len(order) < len(self.nodes):
            if not free:  # a cycle: break it at its first node
                free.append(next(i for i in stuck if not done[i]))
            i = free.pop()
            done[i] = True
            order.append(i)
            for target in reversed(feeds[i]):
                waiting[target] -= 1
                if not waiting[target] and not done[target]:
                    free.append(target)
        return order[::-1]


@contextmanager
def collector_paused() -> Generator[None, None, None]:
    """Keep the cyclic collector off while a graph is built: for a large one it would take most of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def build_plan(graphs: Iterable[Subgraph]) -> Plan:
    """Flatten ``graphs``, which are valid and share one name space."""
    plan = Plan([], [], [])
    index: dict[str, int] = {}
    for graph in graphs:
        _add(plan, index, graph, "", len(plan.budgets))
    return plan


def _add(plan: Plan, index: dict[str, int], graph: Subgraph, prefix: str, budget: int) -> None:
    if budget == len(plan.budgets):
        plan.budgets.append(graph.max_bytes)
    nodes = plan.nodes
    nested = False
    for key, node in graph.nodes.items():
        name = prefix + key
        if isinstance(node, Subgraph):
            nested = True
            _add(plan, index, node, name + "/", len(plan.budgets) if node.max_bytes is not None else budget)
        else:
            index[name] = len(nodes)
            nodes.append(PlannedNode(name, node))
    append = plan.edges.append
    for edge in graph.edges:
        source, port = edge.source_node, edge.source_port.name
        target, target_port = edge.target_node, edge.target_port.name
        if nested:
            source, port = _inner(graph, source, port, "exposed_outputs")
            target, target_port = _inner(graph, target, target_port, "exposed_inputs")
        source, target = prefix + source, prefix + target
        append(
            PlannedEdge(
                f"{source}:{port}->{target}:{target_port}",
                edge,
                index[source],
                port,
                index[target],
                target_port,
                budget,
            )
        )


def _inner(graph: Subgraph, name: str, port: str, exposed: str) -> tuple[str, str]:
    """Follow an exposed port to the node behind it."""
    owner = graph.nodes[name]
    while isinstance(owner, Subgraph):
        inner, port = getattr(owner, exposed)[port]
        name = f"{name}/{inner}"
        owner = owner.nodes[inner]
    return name, port
