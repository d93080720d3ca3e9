"""What can be wrong with a graph: one small function per question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meridian.core.issues import ValidationIssue
from meridian.core.node import ports_of
from meridian.core.ports import Port, PortDirection
from meridian.core.schema import SchemaError, compatible, compile_schema
from meridian.core.subgraph import Subgraph

_IN, _OUT = PortDirection.INPUT, PortDirection.OUTPUT


def validate(graph: Subgraph, prefix: str = "") -> list[ValidationIssue]:
    """Return all issues of ``graph`` and of the graphs nested in it."""
    issues = [
        *_duplicate_nodes(graph, prefix),
        *_edges(graph, prefix),
        *_exposed(graph, prefix),
        *_cycles(graph, prefix),
    ]
    for key, node in graph.nodes.items():
        if isinstance(node, Subgraph):
            issues += validate(node, f"{prefix}{key}/")
    return issues


def validate_together(graphs: Iterable[Subgraph]) -> list[ValidationIssue]:
    """Return all issues of graphs that share one name space."""
    issues: list[ValidationIssue] = []
    seen: dict[str, int] = {}
    owners: dict[int, str] = {}
    for i, graph in enumerate(graphs):
        issues += validate(graph)
        for name, node in _all_nodes(graph, ""):
            if seen.setdefault(name, i) != i:
                issues.append(_error("DUP_NODE", f"two registered graphs have a node {name!r}: rename one of them"))
            elif owners.setdefault(id(node), name) != name:
                issues.append(
                    _error("DUP_NODE", f"one node object stands in the graph as {owners[id(node)]!r} and as {name!r}")
                )
    return issues


def _error(code: str, message: str) -> ValidationIssue:
    return ValidationIssue("error", code, message)


def _all_nodes(graph: Subgraph, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, node in graph.nodes.items():
        if isinstance(node, Subgraph):
            yield from _all_nodes(node, f"{prefix}{key}/")
        else:
            yield prefix + key, node


def _duplicate_nodes(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    for name in graph._duplicates:
        yield _error("DUP_NODE", f"two nodes are named {prefix + name!r}: rename one, or add it with name=")


def _ports_by_name(graph: Subgraph) -> dict[str, tuple[dict[str, Port], dict[str, Port]]]:
    made: dict[str, tuple[dict[str, Port], dict[str, Port]]] = {}
    for key, node in graph.nodes.items():
        if isinstance(node, Subgraph):
            made[key] = (
                {name: graph._port((key, name), _IN) for name in node.exposed_inputs},
                {name: graph._port((key, name), _OUT) for name in node.exposed_outputs},
            )
        else:
            inputs, outputs = node.inputs, node.outputs
            made[key] = (
                {port.name: port for port in (inputs if inputs.__class__ is list else ports_of(inputs, _IN))},
                {port.name: port for port in (outputs if outputs.__class__ is list else ports_of(outputs, _OUT))},
            )
    return made


def _edges(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    ports = _ports_by_name(graph)
    seen: set[tuple[str, str, str, str]] = set()
    for edge in graph.edges:
        source, target = edge.source_node, edge.target_node
        out, into = edge.source_port.name, edge.target_port.name
        if edge.capacity <= 0:
            yield _error("BAD_CAP", f"edge {prefix}{edge.id} has capacity {edge.capacity}: it must be positive")
        key = (source, out, target, into)
        if key in seen:
            yield _error("DUP_EDGE", f"edge {prefix}{edge.id} exists twice: every message would be delivered twice")
        seen.add(key)
        missing = [name for name in (source, target) if name not in ports]
        if missing:
            for name in missing:
                yield _error(
                    "UNKNOWN_NODE", f"edge {prefix}{edge.id} names node {prefix + name!r}, which is not in the graph"
                )
            continue
        source_port = ports[source][1].get(out)
        target_port = ports[target][0].get(into)
        if source_port is None:
            yield _error("NO_SRC_PORT", _no_port(edge.id, prefix + source, "output", out, ports[source][1]))
        if target_port is None:
            yield _error("NO_DST_PORT", _no_port(edge.id, prefix + target, "input", into, ports[target][0]))
        if (edge.max_bytes is not None and edge.max_bytes <= 0) or (edge.max_age_s is not None and edge.max_age_s <= 0):
            yield _error("BAD_LIMIT", f"edge {prefix}{edge.id}: max_bytes and max_age_s must be positive")
        given = source_port.spec.schema if source_port is not None and source_port.spec is not None else None
        taken = edge.spec.schema if edge.spec is not None and hasattr(edge.spec, "schema") else None
        if given is None and taken is None:
            continue
        yield from _schemas(prefix + edge.id, given, taken)


def _no_port(edge: str, node: str, kind: str, port: str, there: dict[str, Port]) -> str:
    names = ", ".join(map(repr, there)) or "none"
    return f"edge {edge}: node {node!r} has no {kind} {port!r}; its {kind}s: {names}"


def _schemas(edge: str, given: Any, taken: Any) -> Iterator[ValidationIssue]:
    for schema in {id(given): given, id(taken): taken}.values():
        try:
            compile_schema(schema)
        except SchemaError as error:
            yield _error("BAD_SCHEMA", f"edge {edge}: {error}")
            return
    if not compatible(given, taken):
        yield _error("SCHEMA_MISMATCH", f"edge {edge}: the output gives {_name(given)}, the input takes {_name(taken)}")


def _name(schema: Any) -> str:
    return schema.__name__ if isinstance(schema, type) else str(schema)


def _exposed(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    for code, kind, exposed, direction in (
        ("BAD_EXPOSE_IN", "input", graph.exposed_inputs, _IN),
        ("BAD_EXPOSE_OUT", "output", graph.exposed_outputs, _OUT),
    ):
        for name, end in exposed.items():
            try:
                graph._port(end, direction)
            except KeyError:
                yield _error(
                    code,
                    f"graph {prefix + graph.name!r} exposes {kind} {name!r} as {end[0]}:{end[1]}, which doesn't exist",
                )


def _cycles(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    """One warning for each group of nodes that feed each other, with one way round. Iterative: graphs may be deep."""
    feeds: dict[str, list[str]] = {}
    for edge in graph.edges:
        feeds.setdefault(edge.source_node, []).append(edge.target_node)
    state: dict[str, int] = {}  # 1 on the way, 2 done
    for start in feeds:
        if start in state:
            continue
        path = [start]
        state[start] = 1
        todo = [iter(feeds[start])]
        while todo:
            for target in todo[-1]:
                if state.get(target) == 1:
                    way = [*path[path.index(target) :], target]
                    yield ValidationIssue(
                        "warning",
                        "CYCLE",
                        f"nodes feed each other: {' -> '.join(prefix + name for name in way)}; if all these edges "
                        "fill up, none can move",
                    )
                elif target not in state:
                    state[target] = 1
                    path.append(target)
                    todo.append(iter(feeds.get(target, ())))
                    break
            else:
                todo.pop()
                state[path.pop()] = 2
