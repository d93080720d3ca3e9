"""A graph as it was declared: nodes, ports and their types, edges and their policies; for tools, and to be compared over time.

It is the same for the same graph: no times, no addresses, no defaults, examples or other values that a declaration may carry.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from meridian.core.function import FnNode, SourceNode
from meridian.core.node import ports_of
from meridian.core.policies import Coalesce, policy_name
from meridian.core.ports import PortDirection
from meridian.core.runtime_plan import PriorityBand
from meridian.core.subgraph import Subgraph
from meridian.introspect.model import as_plain
from meridian.introspect.taken import type_of
from meridian.introspect.types import TypeWriter, type_text
from meridian.runtime.plan import build_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meridian.core.edge import Edge
    from meridian.core.ports import Port, PortSpec
    from meridian.core.scheduler import SchedulerConfig
    from meridian.runtime.plan import PlannedEdge, PlannedNode

GRAPH_VERSION = "1.0"
"""``MAJOR.MINOR`` of the keys of a declared graph."""


@dataclass(frozen=True, slots=True)
class DeclaredPort:
    """One port.

    Attributes:
        name: Its name.
        type: What it carries, as an annotation, or ``None`` for anything.
        schema: JSON Schema of that as JSON, or ``None`` for anything; references lead to ``types`` of the whole document. What has no
            form in JSON only says what it is: ``x-python``.
    """

    name: str
    type: str | None
    schema: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOutline:
    """What there is to say of a node in a picture of its graph.

    Attributes:
        name: Its name in the plan; those of nested graphs are in front of it, with slashes.
        type: ``function``, ``source``, or the qualified name of its class.
    """

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredNode(NodeOutline):
    """One node.

    Attributes:
        summary: What its code says that it does, in a line, or ``None``.
        on_error: What a raising handler means: ``log_continue``, ``emit_error`` or ``raise``.
        asynchronous: Its handler may wait: ``true``, ``false``, or ``None`` if only a run can tell.
        concurrency: So many messages does it work on at a time.
        ordered: Results of several leave in the order of the messages.
        inputs: In order.
        outputs: In order.
    """

    summary: str | None
    on_error: str
    asynchronous: bool | None
    concurrency: int
    ordered: bool
    inputs: tuple[DeclaredPort, ...]
    outputs: tuple[DeclaredPort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOutline:
    """What there is to say of an edge in a picture of its graph.

    Attributes:
        id: ``source:port->target:port``.
        source: Name of the node it leaves.
        source_port: Its output.
        target: Name of the node it enters.
        target_port: Its input.
        policy: What it does when it is full.
        band: ``CONTROL``, ``HIGH`` or ``NORMAL``: who is served first; ``None`` where only a run decides it.
        capacity: Most items it holds.
        max_bytes: Most bytes that queued data may have together, or ``None``.
        max_age_s: Data that waited longer is lost; or ``None``.
    """

    id: str
    source: str
    source_port: str
    target: str
    target_port: str
    policy: str
    band: str | None
    capacity: int
    max_bytes: int | None
    max_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredEdge(EdgeOutline):
    """One edge.

    Attributes:
        band: ``CONTROL``, ``HIGH`` or ``NORMAL``: who is served first.
        merge: Name of the function that merges two items, if its policy is coalesce.
        type: What data must fit, as an annotation, or ``None`` for anything.
        schema: JSON Schema of that, as of a port.
    """

    band: str
    merge: str | None
    type: str | None
    schema: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ExposedPort:
    """A port that a graph shows to the outside.

    Attributes:
        name: Its name there.
        node: The node, or nested graph, whose port it is.
        port: And the name of that port.
    """

    name: str
    node: str
    port: str


@dataclass(frozen=True, slots=True)
class DeclaredSubgraph:
    """One graph of those that are registered, or nested in them.

    Attributes:
        name: Its name; of a nested one, that of its nodes' prefix.
        nested: It stands in another graph.
        nodes: Names of its own nodes and graphs, as they are in it.
        max_bytes: Most bytes that its edges may hold together, or ``None``.
        inputs: What it exposes.
        outputs: What it exposes.
    """

    name: str
    nested: bool
    nodes: tuple[str, ...]
    max_bytes: int | None
    inputs: tuple[ExposedPort, ...]
    outputs: tuple[ExposedPort, ...]


@dataclass(frozen=True, slots=True)
class DeclaredSettings:
    """How the scheduler would run it; see `SchedulerConfig`.

    Attributes:
        tick_interval_ms: Milliseconds between two ticks.
        fairness_ratio: Slices of the bands CONTROL, HIGH and NORMAL while all have work.
        max_batch_per_node: Most messages of one slice.
        shutdown_timeout_s: Most seconds that a stop drains for.
        idle_timeout_s: Stop after so many seconds without anything to do, or ``None``.
    """

    tick_interval_ms: float
    fairness_ratio: tuple[int, ...]
    max_batch_per_node: int
    shutdown_timeout_s: float
    idle_timeout_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredGraph:
    """Everything that was declared.

    Attributes:
        kind: ``graph``.
        schema_version: Of these keys; see `GRAPH_VERSION`.
        settings: How it would be run.
        graphs: Those that are registered, each with those nested in it.
        nodes: In start order.
        edges: In connect order.
        types: JSON Schemas of the classes that ports carry, by name.
    """

    kind: str
    schema_version: str
    settings: DeclaredSettings
    graphs: tuple[DeclaredSubgraph, ...]
    nodes: tuple[DeclaredNode, ...]
    edges: tuple[DeclaredEdge, ...]
    types: dict[str, Any]

    SHAPES: ClassVar[tuple[type, ...]] = (
        DeclaredSettings,
        DeclaredSubgraph,
        ExposedPort,
        DeclaredNode,
        DeclaredPort,
        DeclaredEdge,
    )
    """What it is made of, for the schema."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers, ready for JSON; texts go through the redaction policy."""
        return as_plain(self)


def declared(
    graphs: Iterable[Subgraph],
    settings: SchedulerConfig,
    bands: Mapping[str, PriorityBand] | None = None,
    capacities: Mapping[str, int] | None = None,
) -> DeclaredGraph:
    """Return what was declared.

    Args:
        graphs: Valid ones that share one name space.
        settings: How they would be run.
        bands: Bands of edges that aren't NORMAL, by id.
        capacities: Capacities that a scheduler was told, by id of the edge.
    """
    registered = list(graphs)
    plan = build_plan(registered)
    types = TypeWriter()
    nodes = tuple(_node(node, types) for node in plan.nodes)
    names = [node.name for node in nodes]
    edges = tuple(_edge(edge, names, bands or {}, capacities or {}, types) for edge in plan.edges)
    return DeclaredGraph(
        kind="graph",
        schema_version=GRAPH_VERSION,
        settings=DeclaredSettings(
            settings.tick_interval_ms,
            tuple(settings.fairness_ratio),
            settings.max_batch_per_node,
            settings.shutdown_timeout_s,
            settings.idle_timeout_s,
        ),
        graphs=tuple(each for graph in registered for each in _subgraphs(graph, graph.name, False)),
        nodes=nodes,
        edges=edges,
        types=types.defined(),
    )


def _subgraphs(graph: Subgraph, name: str, nested: bool) -> Iterator[DeclaredSubgraph]:
    yield DeclaredSubgraph(
        name,
        nested,
        tuple(graph.nodes),
        graph.max_bytes,
        tuple(ExposedPort(port, *place) for port, place in graph.exposed_inputs.items()),
        tuple(ExposedPort(port, *place) for port, place in graph.exposed_outputs.items()),
    )
    for key, each in graph.nodes.items():
        if isinstance(each, Subgraph):
            yield from _subgraphs(each, f"{name}/{key}" if nested else key, True)


def _node(planned: PlannedNode, types: TypeWriter) -> DeclaredNode:
    node = planned.node
    function = node.function if isinstance(node, FnNode) else None
    return DeclaredNode(
        name=planned.name,
        type=type_of(node),
        summary=_summary(node),
        on_error=node.error_policy.value,
        asynchronous=None if function is None else function.is_async,
        concurrency=1 if function is None else function.concurrency,
        ordered=True if function is None else function.ordered,
        inputs=tuple(_port(port, types) for port in ports_of(node.inputs, PortDirection.INPUT)),
        outputs=tuple(_port(port, types) for port in ports_of(node.outputs, PortDirection.OUTPUT)),
    )


def _summary(node: Any) -> str | None:
    """Return the first line of the docstring of a node's class, or of its function, if they are somebody's own."""
    code: Any = type(node)
    if isinstance(node, FnNode):
        code = node.function.fn
    elif code is SourceNode:
        code = node.items
    if not (inspect.isfunction(code) or isinstance(code, type)):
        return None
    said = code.__doc__
    # A dataclass without a docstring gets one that shows its defaults.
    if not isinstance(said, str) or said.startswith(f"{code.__name__}("):
        return None
    return said.strip().partition("\n")[0] or None


def _port(port: Port, types: TypeWriter) -> DeclaredPort:
    return DeclaredPort(port.name, *_typed(port.spec, types))


def _typed(spec: PortSpec | None, types: TypeWriter) -> tuple[str | None, dict[str, Any] | None]:
    if spec is None or spec.schema is None:
        return None, None
    return type_text(spec.schema), types.schema(spec.schema)


def _edge(
    planned: PlannedEdge,
    names: list[str],
    bands: Mapping[str, PriorityBand],
    capacities: Mapping[str, int],
    types: TypeWriter,
) -> DeclaredEdge:
    edge: Edge[Any] = planned.edge
    policy = edge.default_policy
    merge = None
    if isinstance(policy, Coalesce):
        merge = getattr(policy.fn, "__qualname__", None) or type(policy.fn).__qualname__
    of, schema = _typed(edge.spec, types)
    return DeclaredEdge(
        id=planned.id,
        source=names[planned.source],
        source_port=planned.port,
        target=names[planned.target],
        target_port=planned.target_port,
        policy=policy_name(policy),
        merge=merge,
        band=bands.get(planned.id, PriorityBand.NORMAL).name,
        capacity=capacities.get(planned.id, edge.capacity),
        max_bytes=edge.max_bytes,
        max_age_s=edge.max_age_s,
        type=of,
        schema=schema,
    )
