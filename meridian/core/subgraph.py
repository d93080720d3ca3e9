"""Subgraph: nodes and edges under one name. It is declared here and run by a `Scheduler`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from meridian.core import places
from meridian.core.edge import Edge
from meridian.core.function import NodeFunction
from meridian.core.issues import ValidationIssue
from meridian.core.node import Node, ports_of
from meridian.core.policies import as_policy
from meridian.core.ports import Port, PortDirection
from meridian.core.wiring import Flow, PortRef, Wirable, owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Subgraph", "ValidationIssue", "graph"]

_OTHER = {PortDirection.INPUT: PortDirection.OUTPUT, PortDirection.OUTPUT: PortDirection.INPUT}


class Subgraph(Wirable):
    """Nodes, edges between them, and the ports it shows to the outside.

    Args:
        name: Its name; prefixes the names of its nodes when it is nested in another graph.
        nodes: By name. The key is the node's name within this graph.
        edges: In the order in which they were connected.
        exposed_inputs: Name to (node, input).
        exposed_outputs: Name to (node, output).
        max_bytes: Most bytes that all its edges may hold together, or ``None``.

    Everything is a plain container that may be changed until a run begins. A nested graph stands in ``nodes`` like a
    node, and is wired by the names of its exposed ports.

    Attributes:
        lint_ignore: What `meridian.lint.lint` is not to tell about anything in it: reasons by id of the rule.
    """

    max_bytes: int | None = None
    lint_ignore: Mapping[str, str] | None = None
    _duplicates: list[str]
    _functions: dict[int, Node]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the part that a subclass with an ``__init__`` of its own (a dataclass, say) knows nothing of."""
        made = super().__new__(cls)
        made._duplicates = []
        made._functions = {}
        return made

    def __init__(
        self,
        name: str,
        nodes: Mapping[str, Node | Subgraph] | None = None,
        edges: Iterable[Edge[Any]] | None = None,
        exposed_inputs: Mapping[str, tuple[str, str]] | None = None,
        exposed_outputs: Mapping[str, tuple[str, str]] | None = None,
        *,
        max_bytes: int | None = None,
    ) -> None:
        self.name = name
        # A dict or list of the caller's is kept, not copied: as in v1, it may go on changing until a run begins.
        self.nodes: dict[str, Any] = nodes if isinstance(nodes, dict) else dict(nodes or {})
        self.edges: list[Edge[Any]] = edges if isinstance(edges, list) else list(edges or ())
        self.exposed_inputs: dict[str, tuple[str, str]] = (
            exposed_inputs if isinstance(exposed_inputs, dict) else dict(exposed_inputs or {})
        )
        self.exposed_outputs: dict[str, tuple[str, str]] = (
            exposed_outputs if isinstance(exposed_outputs, dict) else dict(exposed_outputs or {})
        )
        self.max_bytes = max_bytes

    @classmethod
    def from_nodes(cls, name: str, nodes: Iterable[Node]) -> Subgraph:
        """Make a graph of nodes, not yet connected; two of one name are reported by `validate`."""
        made = cls(name)
        for each in nodes:
            made.add_node(each)
        return made

    def add_node(self, node: Node | Subgraph | NodeFunction[..., Any], name: str | None = None) -> None:
        """Add a node, a function node, or another graph.

        Args:
            node: What to add.
            name: Its name in this graph, for wiring and routing; its own name by default.

        A name that is taken replaces the earlier node and is reported by `validate`; a run refuses it.
        """
        if isinstance(node, NodeFunction):
            function, node = node, node.node(name)
            self._functions[id(function)] = node
        if not isinstance(node, (Node, Subgraph)):
            raise TypeError(
                f"add_node takes a Node, a @node function or a Subgraph, got {type(node).__name__}"
            )
        key = name or node.name
        if key in self.nodes and self.nodes[key] is not node:
            self._duplicates.append(key)
        self.nodes[key] = node

    def connect(
        self,
        src: tuple[str, str],
        dst: tuple[str, str],
        capacity: int = 1024,
        policy: Any = None,
        *,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        size: Callable[[Any], int] | None = None,
    ) -> str:
        """Connect an output to an input and return the edge's id.

        Args:
            src: (node, output). Several edges may leave one output: each message goes to all of them.
            dst: (node, input). Several edges may enter one input: they are served in turn.
            capacity: Most items the edge holds.
            policy: What happens when it is full: `block` (the default), `drop`, `latest`, `coalesce`, their names, or
                any object with ``on_enqueue``.
            max_bytes: Most bytes of queued data, or ``None``.
            max_age_s: Oldest age in seconds at which data is still delivered, or ``None``.
            size: Tells the bytes of a payload.

        Raises:
            ValueError: ``capacity`` isn't positive.
            KeyError: there is no such node or port; says which there are.
            TypeError: ``policy`` isn't one.
        """
        if capacity <= 0:
            raise ValueError(f"capacity must be positive, got {capacity}")
        source = self._port(src, PortDirection.OUTPUT)
        target = self._port(dst, PortDirection.INPUT)
        edge: Edge[Any] = Edge(
            src[0],
            source,
            dst[0],
            target,
            capacity,
            getattr(target, "spec", None),
            as_policy(policy),
            max_bytes=max_bytes,
            max_age_s=max_age_s,
            size=size,
        )
        self.edges.append(edge)
        if places.current is not None:
            places.current.note(edge)
        return edge.id

    def _port(self, end: tuple[str, str], direction: PortDirection) -> Port:
        name, port = end
        try:
            owner = self.nodes[name]
        except KeyError:
            known = ", ".join(map(repr, self.nodes)) or "none"
            raise KeyError(f"graph {self.name!r} has no node {name!r}; its nodes: {known}") from None
        ports = _ports(owner, direction)
        for each in ports:
            if each.name == port:
                return each
        known = ", ".join(repr(each.name) for each in ports) or "none"
        twice = "; two nodes have this name: rename one of them" if name in self._duplicates else ""
        raise KeyError(
            f"node {name!r} has no {direction.value.lower()} {port!r}; its {direction.value.lower()}s: {known}{twice}"
        )

    def add_flow(self, *flows: Flow | Wirable) -> Subgraph:
        """Add what wiring expressions describe; returns itself.

        Raises:
            TypeError: an end has several ports and none was named, or an expression ends in ``via(...)``.
            KeyError: a named port doesn't exist.
        """
        for flow in map(Flow.of, flows):
            if flow.open_ended:
                raise TypeError("a wiring expression ends in via(...): put a node behind it")
            for owner in flow.owners:
                self._resolve(owner)
            through = {id(link.source) for link in flow.links} & {id(link.target) for link in flow.links}
            for link in flow.links:
                options = link.options
                self.connect(
                    self._end(link.source, PortDirection.OUTPUT, id(link.source) in through),
                    self._end(link.target, PortDirection.INPUT, id(link.target) in through),
                    options.capacity,
                    options.policy,
                    max_bytes=options.max_bytes,
                    max_age_s=options.max_age_s,
                    size=options.size,
                )
                if places.current is not None:
                    places.current.move(link, self.edges[-1])
        return self

    def _resolve(self, owner: Wirable) -> str:
        """Return the name of ``owner`` here, adding it on first sight."""
        if isinstance(owner, NodeFunction):
            made = self._functions.get(id(owner))
            if made is None:
                made = self._functions[id(owner)] = owner.node()
                self.add_node(made)
            owner = made
        name: str = owner.name  # type: ignore[attr-defined]  # nodes and graphs have one; add_node refuses the rest
        if self.nodes.get(name) is owner:
            return name
        for key, each in self.nodes.items():
            if each is owner:  # added under an alias
                return key
        self.add_node(owner)  # type: ignore[arg-type]  # refused there if it is no node
        return name

    def _end(self, end: Wirable, direction: PortDirection, through: bool = False) -> tuple[str, str]:
        """Return (node, port) of one end; ``through``: it stands between two ``>>``, where the name may mean the output."""
        name = self._resolve(owner_of(end))
        ports = _ports(self.nodes[name], direction)
        if isinstance(end, PortRef):
            both = ports, _ports(self.nodes[name], _OTHER[direction])
            here, there = (any(port.name == end.port for port in side) for side in both)
            if here or not (through and there):
                return name, end.port
        if len(ports) != 1:
            kind = direction.value.lower()
            known = ", ".join(repr(port.name) for port in ports)
            if not ports:
                raise TypeError(f"node {name!r} has no {kind}, so nothing can be wired there")
            raise TypeError(
                f"node {name!r} has the {kind}s {known}: name one, such as {name}[{ports[0].name!r}]"
            )
        return name, ports[0].name

    def expose_input(self, name: str, target: tuple[str, str]) -> None:
        """Show an inner input to the outside as ``name``.

        Raises:
            ValueError: the name is taken. Whether ``target`` exists is checked by `validate`.
        """
        if name in self.exposed_inputs:
            raise ValueError(f"graph {self.name!r} already exposes an input {name!r}")
        self.exposed_inputs[name] = target

    def expose_output(self, name: str, source: tuple[str, str]) -> None:
        """Show an inner output to the outside as ``name``; raises as `expose_input`."""
        if name in self.exposed_outputs:
            raise ValueError(f"graph {self.name!r} already exposes an output {name!r}")
        self.exposed_outputs[name] = source

    def validate(self) -> list[ValidationIssue]:
        """Return everything that is wrong, nested graphs included; never raises.

        Level ``"error"`` refuses a run, ``"warning"`` doesn't. A valid graph returns ``[]``.
        """
        from meridian.runtime.validate import validate

        return validate(self)

    def node_names(self) -> list[str]:
        """Return the names of its nodes, in order."""
        return list(self.nodes)

    def inputs_of(self, node_name: str) -> dict[str, Edge[Any]]:
        """Return one edge for each connected input of a node, the one connected last; see `edges_into` for all."""
        return {edge.target_port.name: edge for edge in self.edges if edge.target_node == node_name}

    def edges_into(self, node_name: str, port: str | None = None) -> list[Edge[Any]]:
        """Return all edges that enter a node, or one of its inputs, in connect order."""
        return [
            edge
            for edge in self.edges
            if edge.target_node == node_name and (port is None or edge.target_port.name == port)
        ]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self.nodes)} nodes, {len(self.edges)} edges>"


@dataclass
class _Fields:
    name: str
    nodes: dict[str, Any] = field(default_factory=dict[str, Any])
    edges: list[Edge[Any]] = field(default_factory=list[Edge[Any]])
    exposed_inputs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    exposed_outputs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


# v1's Subgraph is a dataclass, and a dataclass may derive from it; see the end of `meridian.core.node`.
Subgraph.__dataclass_fields__ = _Fields.__dataclass_fields__  # type: ignore[attr-defined]
Subgraph.__dataclass_params__ = _Fields.__dataclass_params__  # type: ignore[attr-defined]


def graph(name: str, *flows: Flow | Wirable, max_bytes: int | None = None) -> Subgraph:
    """Make a graph of wiring expressions: ``graph("demo", source(range(3)) >> sink(print))``.

    Args:
        name: Its name.
        flows: Expressions made with ``>>``, or single nodes.
        max_bytes: Most bytes that all its edges may hold together, or ``None``.
    """
    return Subgraph(name, max_bytes=max_bytes).add_flow(*flows)


def _ports(owner: Any, direction: PortDirection) -> list[Port]:
    if isinstance(owner, Subgraph):
        exposed = owner.exposed_inputs if direction is PortDirection.INPUT else owner.exposed_outputs
        return [_inner_port(owner, name, end, direction) for name, end in exposed.items()]
    ports: list[Port] = owner.inputs if direction is PortDirection.INPUT else owner.outputs
    return ports if ports.__class__ is list else ports_of(ports, direction)


def _inner_port(owner: Subgraph, name: str, end: tuple[str, str], direction: PortDirection) -> Port:
    """Return the port that a nested graph shows as ``name``, with the spec of the inner one."""
    try:
        inner = owner._port(end, direction)
    except KeyError:  # reported by validate()
        return Port(name, direction)
    return Port(name, direction, spec=getattr(inner, "spec", None))
