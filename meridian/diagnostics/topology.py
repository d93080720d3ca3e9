"""Nodes and edges, as a running process tells them or as TARGET declares them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from meridian.core.policies import Block, policy_name
from meridian.introspect.look import type_of

if TYPE_CHECKING:
    from meridian.introspect import Snapshot
    from meridian.runtime.plan import Plan


@dataclass(frozen=True, slots=True)
class Node:
    """A node.

    Attributes:
        name: Its name in the plan.
        type: What it is: ``function``, ``source``, or the qualified name of its class.
    """

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge.

    Attributes:
        id: ``source:port->target:port``.
        source: Name of the node it leaves.
        source_port: Its output.
        target: Name of the node it enters.
        target_port: Its input.
        policy: What it does when it is full.
        capacity: Most items it holds.
        band: ``CONTROL``, ``HIGH`` or ``NORMAL``; ``None`` before a run, which decides it.
        max_bytes: Most bytes of queued data, or ``None`` for no limit.
        max_age_s: Data that waited longer is lost, or ``None`` for no limit.
    """

    id: str
    source: str
    source_port: str
    target: str
    target_port: str
    policy: str
    capacity: int
    band: str | None
    max_bytes: int | None
    max_age_s: float | None


@dataclass(frozen=True, slots=True)
class Graph:
    """What one run runs, or TARGET declares.

    Attributes:
        of: ``process`` or ``target``: who says so.
        run: Id of the run; ``None`` of a TARGET.
        nodes: In start order.
        edges: In connect order.
    """

    of: str
    run: str | None
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """All graphs.

    Attributes:
        graphs: Of the process, then of TARGET.
    """

    graphs: tuple[Graph, ...]


def graph_of(shot: Snapshot) -> Graph:
    """Return the graph of a run."""
    return Graph(
        "process",
        shot.run,
        tuple(Node(node.name, node.type) for node in shot.nodes),
        tuple(Edge(*(getattr(edge, field.name) for field in fields(Edge))) for edge in shot.edges),
    )


def graph_from(said: Any) -> Graph:
    """Return the graph that `declared` told, from its JSON.

    Raises:
        KeyError, TypeError: it is none.
    """
    return Graph(
        "target",
        None,
        tuple(Node(each["name"], each["type"]) for each in said["nodes"]),
        tuple(Edge(*(each[field.name] for field in fields(Edge))) for each in said["edges"]),
    )


def declared(plan: Plan) -> Graph:
    """Return the graph that a plan declares."""
    names = [node.name for node in plan.nodes]
    return Graph(
        "target",
        None,
        tuple(Node(node.name, type_of(node.node)) for node in plan.nodes),
        tuple(
            Edge(
                each.id, names[each.source], each.port, names[each.target], each.target_port,
                policy_name(each.edge.default_policy or Block()), each.edge.capacity, None,
                each.edge.max_bytes, each.edge.max_age_s,
            )
            for each in plan.edges
        ),
    )  # fmt: skip
