"""What can be wrong with a graph: one small function per question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meridian.core.issues import IssueOfEdge, ValidationIssue
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
    graphs = list(graphs)
    issues = [issue for graph in graphs for issue in validate(graph)]
    names: set[str] = set()
    owners: dict[int, str] = {}
    for graph in graphs:
        for name, node in _all_nodes(graph, ""):
            if name in names:
                issues.append(
                    _error("DUP_NODE", f"two registered graphs have a node {name!r}: rename one of them")
                )
            elif id(node) in owners:
                issues.append(
                    _error(
                        "DUP_NODE",
                        f"one node object stands in the graph as {owners[id(node)]!r} and as {name!r}",
                    )
                )
            names.add(name)
            owners[id(node)] = name
    return issues


def _error(code: str, message: str) -> ValidationIssue:
    return ValidationIssue("error", code, message)


def _of_edge(edge: str, code: str, text: str) -> ValidationIssue:
    issue = IssueOfEdge("error", code, f"edge {edge}{text}")
    issue.edge = edge
    return issue


def _all_nodes(graph: Subgraph, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, node in graph.nodes.items():
        if isinstance(node, Subgraph):
            yield from _all_nodes(node, f"{prefix}{key}/")
        else:
            yield prefix + key, node


def _duplicate_nodes(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    for name in graph._duplicates:
        yield _error("DUP_NODE", f"two nodes are named {prefix + name!r}: rename one, or add it with name=")


def _ports_of(graph: Subgraph, name: str, direction: PortDirection) -> dict[str, Port]:
    node = graph.nodes[name]
    if isinstance(node, Subgraph):
        exposed = node.exposed_inputs if direction is _IN else node.exposed_outputs
        return {port: graph._port((name, port), direction) for port in exposed}
    return {
        port.name: port for port in ports_of(node.inputs if direction is _IN else node.outputs, direction)
    }


def _edges(graph: Subgraph, prefix: str) -> Iterator[ValidationIssue]:
    nodes = graph.nodes
    seen: set[tuple[str, str, str, str]] = set()
    sound: set[tuple[Any, Any]] = {(None, None)}  # pairs of schemas that were looked at already
    for edge in graph.edges:
        out, into = edge.source_port, edge.target_port
        key = (edge.source_node, out.name, edge.target_node, into.name)
        if key in seen:
            yield _of_edge(
                prefix + edge.id, "DUP_EDGE", " exists twice: every message would be delivered twice"
            )
        seen.add(key)
        if edge.capacity <= 0:
            yield _of_edge(prefix + edge.id, "BAD_CAP", f" has capacity {edge.capacity}: it must be positive")
        if (edge.max_bytes is not None and edge.max_bytes <= 0) or (
            edge.max_age_s is not None and edge.max_age_s <= 0
        ):
            yield _of_edge(prefix + edge.id, "BAD_LIMIT", ": max_bytes and max_age_s must be positive")
        source, target = nodes.get(edge.source_node), nodes.get(edge.target_node)
        if source is None or target is None:
            for name in (edge.source_node, edge.target_node):
                if name not in nodes:
                    yield _of_edge(
                        prefix + edge.id,
                        "UNKNOWN_NODE",
                        f" names node {prefix + name!r}, which is not in the graph",
                    )
            continue
        given: Any = out
        if not _has(
            source.__dict__.get("outputs"), out
        ):  # the port may have been exchanged since: look by name
            there = _ports_of(graph, edge.source_node, _OUT)
            given = there.get(out.name)
            if given is None:
                yield _of_edge(
                    prefix + edge.id,
                    "NO_SRC_PORT",
                    _no_port(prefix + edge.source_node, "output", out.name, there),
                )
        if not _has(target.__dict__.get("inputs"), into):
            there = _ports_of(graph, edge.target_node, _IN)
            if into.name not in there:
                yield _of_edge(
                    prefix + edge.id,
                    "NO_DST_PORT",
                    _no_port(prefix + edge.target_node, "input", into.name, there),
                )
        gives: Any = getattr(getattr(given, "spec", None), "schema", None)
        takes: Any = getattr(edge.spec, "schema", None)
        try:
            if (gives, takes) in sound:
                continue
        except TypeError:  # a schema that isn't hashable
            yield from _schemas(prefix + edge.id, gives, takes)
            continue
        issues = list(_schemas(prefix + edge.id, gives, takes))
        if not issues:
            sound.add((gives, takes))
        yield from issues


def _has(ports: Any, port: Port) -> bool:
    """Say whether ``port`` stands in a list of ports."""
    return ports.__class__ is list and port in ports


def _no_port(node: str, kind: str, port: str, there: dict[str, Port]) -> str:
    names = ", ".join(map(repr, there)) or "none"
    return f": node {node!r} has no {kind} {port!r}; its {kind}s: {names}"


def _schemas(edge: str, given: Any, taken: Any) -> Iterator[ValidationIssue]:
    for schema in {id(given): given, id(taken): taken}.values():
        try:
            compile_schema(schema)
        except SchemaError as error:
            yield _of_edge(edge, "BAD_SCHEMA", f": {error}")
            return
    if not compatible(given, taken):
        yield _of_edge(
            edge, "SCHEMA_MISMATCH", f": the output gives {_name(given)}, the input takes {_name(taken)}"
        )


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
    """One warning for each way round. Iterative: graphs may be deep."""
    if not _may_have_cycles(graph):
        return
    feeds: dict[str, list[str]] = {}
    for edge in graph.edges:
        feeds.setdefault(edge.source_node, []).append(edge.target_node)
    state: dict[str, int] = {}  # 1 on the way, 2 done
    for start, targets in feeds.items():
        if start in state:
            continue
        path = [start]
        state[start] = 1
        todo = [iter(targets)]
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


def _may_have_cycles(graph: Subgraph) -> bool:
    """Say whether nodes are left when those that nothing feeds are taken away again and again."""
    feeds: dict[str, list[str]] = {}
    waiting = dict.fromkeys(graph.nodes, 0)
    for edge in graph.edges:
        source, target = edge.source_node, edge.target_node
        if source in waiting and target in waiting:
            waiting[target] += 1
            if source in feeds:
                feeds[source].append(target)
            else:
                feeds[source] = [target]
    free = [name for name, n in waiting.items() if not n]
    left = len(waiting)
    while free:
        left -= 1
        for target in feeds.get(free.pop(), ()):
            waiting[target] -= 1
            if not waiting[target]:
                free.append(target)
    return left > 0
