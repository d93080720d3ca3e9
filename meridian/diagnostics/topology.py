"""Nodes and edges, as a running process tells them or as TARGET declares them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from meridian.core.policies import policy_name
from meridian.introspect.graph import EdgeOutline, NodeOutline
from meridian.introspect.taken import type_of

if TYPE_CHECKING:
    from meridian.introspect import Snapshot
    from meridian.runtime.plan import Plan


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
    nodes: tuple[NodeOutline, ...]
    edges: tuple[EdgeOutline, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """All graphs.

    Attributes:
        graphs: Of the process, then of TARGET.
    """

    graphs: tuple[Graph, ...]


_EDGE = tuple(field.name for field in fields(EdgeOutline))


def graph_of(shot: Snapshot) -> Graph:
    """Return the graph of a run."""
    return Graph(
        "process",
        shot.run,
        tuple(NodeOutline(name=node.name, type=node.type) for node in shot.nodes),
        tuple(EdgeOutline(**{name: getattr(edge, name) for name in _EDGE}) for edge in shot.edges),
    )


def graph_from(said: Any) -> Graph:
    """Return the graph that `declared` told, from its JSON.

    Raises:
        KeyError, TypeError: it is none.
    """
    return Graph(
        "target",
        None,
        tuple(NodeOutline(name=each["name"], type=each["type"]) for each in said["nodes"]),
        tuple(EdgeOutline(**{name: each[name] for name in _EDGE}) for each in said["edges"]),
    )


def declared(plan: Plan) -> Graph:
    """Return the graph that a plan declares."""
    names = [node.name for node in plan.nodes]
    return Graph(
        "target",
        None,
        tuple(NodeOutline(name=node.name, type=type_of(node.node)) for node in plan.nodes),
        tuple(
            EdgeOutline(
                id=each.id,
                source=names[each.source],
                source_port=each.port,
                target=names[each.target],
                target_port=each.target_port,
                policy=policy_name(each.edge.default_policy),
                band=None,
                capacity=each.edge.capacity,
                max_bytes=each.edge.max_bytes,
                max_age_s=each.edge.max_age_s,
            )
            for each in plan.edges
        ),
    )
