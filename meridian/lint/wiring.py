"""Rules about how a graph is wired: what leads where, what may be lost, what may stand still."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from meridian.core.function import FnNode, SourceNode
from meridian.core.node import Node, ports_of
from meridian.core.policies import Coalesce, ErrorPolicy
from meridian.core.ports import PortDirection
from meridian.core.runtime_plan import PriorityBand
from meridian.core.schema import SchemaError, compatible
from meridian.core.subgraph import Subgraph
from meridian.lint.model import Found, looks_for
from meridian.lint.source import function_of, is_none
from meridian.lint.view import Handler, View, blocks, how_it_loses, is_ours
from meridian.redaction import redactor
from meridian.runtime.hooks import ticks

if TYPE_CHECKING:
    from meridian.runtime.plan import PlannedEdge

MANY_PRODUCERS: Final = 16
MANY_ITEMS: Final = 16_384
HUGE_CAPACITY: Final = 100_000

_KEEPS: Final = {
    *(
        "archive",
        "archiver",
        "audit",
        "billing",
        "database",
        "db",
        "durable",
        "invoice",
        "invoices",
        "journal",
    ),
    *("ledger", "outbox", "payment", "payments", "persist", "persistence", "persistent", "postgres", "save"),
    *("saver", "sqlite", "storage", "store"),
}
"""Words in the name of a node, or of its class, that say that what reaches it is to be kept."""

_COMMANDS: Final = {*("abort", "cancel", "command", "commands", "control", "flush", "shutdown", "stop")}
"""Words in the name of a port or of a source that say that what leaves it are commands and not data."""

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


# ---- what leads nowhere ----------------------------------------------------------------------------------------------


@looks_for("dangling-output")
def _dangling_output(view: View) -> Iterator[Found]:
    if not view.is_valid:
        return
    for i, (name, node) in enumerate(view.plan.nodes):
        connected = {edge.port for edge in view.out_of[i]}
        connected |= {port for owner, port in view.open_outputs if owner == name}
        loose = [
            port.name
            for port in ports_of(node.outputs, PortDirection.OUTPUT)
            if port.name not in connected and "error" not in port.name.lower()
        ]
        for port in loose:
            if _surely_sends(node, port, view.handlers[i], nothing_else=not connected):
                yield Found(f"output {port!r} of node {name!r} leads to nothing", i)


def _surely_sends(node: Node, port: str, handlers: list[Handler], *, nothing_else: bool) -> bool:
    """Say whether something is sent to a port; ``nothing_else``: it may be all that the node is for."""
    if isinstance(node, SourceNode):
        return True
    if isinstance(node, FnNode):
        return node.function.trusted or any(_gives(handler) for handler in handlers)
    if is_ours(type(node)):
        return type(node) is not Node and nothing_else
    named: set[Any] = set()
    unknown = False
    for handler in handlers:
        for call in handler.code.calls():
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("emit", "send") and call.args:
                if isinstance(call.args[0], ast.Constant):
                    named.add(call.args[0].value)
                else:
                    unknown = True
    return port in named or (unknown and nothing_else)


def _gives(handler: Handler) -> bool:
    """Say whether a function has something to send on."""
    code = handler.code
    if isinstance(code.tree, ast.Lambda):
        return False  # of a lambda nobody says whether its value is meant
    for each in code.own():
        if isinstance(each, (ast.Yield, ast.YieldFrom)):
            return True
        if isinstance(each, ast.Return) and not is_none(each.value):
            return True
    return False


@looks_for("never-fed")
def _never_fed(view: View) -> Iterator[Found]:
    if not view.is_valid:
        return
    fed = [_starts_by_itself(view, i) for i in range(len(view.plan.nodes))]
    todo = [i for i, yes in enumerate(fed) if yes]
    while todo:
        for edge in view.out_of[todo.pop()]:
            if not fed[edge.target]:
                fed[edge.target] = True
                todo.append(edge.target)
    told: set[int] = set()
    for i, name in enumerate(each.name for each in view.plan.nodes):
        if fed[i] or i in told:
            continue
        if view.into[i] and any(not view.into[j] for j in _behind(view, i, backwards=True)):
            continue  # told with the first of them
        behind = _behind(view, i) - {i}
        told |= behind
        after = f", nor anything behind it ({len(behind)} more)" if behind else ""
        why = "only nodes feed it that it feeds itself" if view.into[i] else "no edge leads to it"
        yield Found(f"node {name!r} never gets a message{after}: {why}", i)


def _starts_by_itself(view: View, i: int) -> bool:
    name, node = view.plan.nodes[i]
    inputs = ports_of(node.inputs, PortDirection.INPUT)
    return (
        not inputs
        or any(owner == name for owner, _ in view.open_inputs)
        or ticks(node)
        or (not isinstance(node, FnNode) and type(node).on_start is not Node.on_start)
        or type(node) is Node
    )


def _behind(view: View, i: int, *, backwards: bool = False) -> set[int]:
    found = {i}
    todo = [i]
    while todo:
        here = todo.pop()
        for edge in (view.into if backwards else view.out_of)[here]:
            other = edge.source if backwards else edge.target
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


@looks_for("errors-nowhere")
def _errors_nowhere(view: View) -> Iterator[Found]:
    for i, (name, node) in enumerate(view.plan.nodes):
        config = vars(node).get("_config")
        policy = getattr(config, "error_policy", None) if is_ours(type(node)) else None
        if ErrorPolicy.EMIT_ERROR not in (policy, node.error_policy):
            continue
        outputs = [port.name for port in ports_of(node.outputs, PortDirection.OUTPUT)]
        port = "error" if "error" in outputs else next(iter(outputs), None)
        if port is None:
            yield Found(f"node {name!r} is to emit its errors, but has no output", i)
        elif not any(edge.port == port for edge in view.out_of[i]) and (name, port) not in view.open_outputs:
            yield Found(f"node {name!r} emits its errors on {port!r}, which leads to nothing", i)


# ---- what may grow ---------------------------------------------------------------------------------------------------


def _unlimited(view: View, edge: PlannedEdge) -> bool:
    return edge.edge.max_bytes is None and view.plan.budgets[edge.graph] is None


@looks_for("wide-fan-in")
def _wide_fan_in(view: View) -> Iterator[Found]:
    for i, edges in enumerate(view.into):
        items = sum(edge.edge.capacity for edge in edges if _unlimited(view, edge))
        if len({edge.source for edge in edges}) >= MANY_PRODUCERS and items >= MANY_ITEMS:
            yield Found(
                f"{len(edges)} edges lead to node {view.name(i)!r} and may hold {items:,} items together", i
            )


@looks_for("huge-capacity")
def _huge_capacity(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        if edge.edge.capacity >= HUGE_CAPACITY and _unlimited(view, edge):
            yield Found(
                f"edge {edge.id} may hold {edge.edge.capacity:,} items, of any size", edge.target, edge.id
            )


@looks_for("tiny-edge")
def _tiny_edge(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        if edge.edge.capacity == 1 and blocks(edge.edge) and view.out_of[edge.target]:
            yield Found(
                f"edge {edge.id} holds one item and blocks: its ends take turns message by message",
                edge.target,
                edge.id,
            )


@looks_for("blocking-cycle")
def _blocking_cycle(view: View) -> Iterator[Found]:
    edges = [edge for edge in view.plan.edges if blocks(edge.edge)]
    feeds: list[list[int]] = [[] for _ in view.plan.nodes]
    for edge in edges:
        feeds[edge.source].append(edge.target)
    for ring in _rings(feeds):
        names = " -> ".join(view.name(i) for i in (*ring, ring[0]))
        yield Found(f"all edges of a cycle block when they are full: {names}", ring[0])


def _rings(feeds: list[list[int]]) -> Iterator[list[int]]:
    """Yield one way round for each group of nodes that feed each other. Iterative: graphs may be deep."""
    state = [0] * len(feeds)  # 1 on the way, 2 done
    told: set[int] = set()
    for start in range(len(feeds)):
        if state[start]:
            continue
        path, todo = [start], [iter(feeds[start])]
        state[start] = 1
        while todo:
            for target in todo[-1]:
                if state[target] == 1:
                    ring = path[path.index(target) :]
                    if told.isdisjoint(ring):
                        told.update(ring)
                        yield ring
                elif not state[target]:
                    state[target] = 1
                    path.append(target)
                    todo.append(iter(feeds[target]))
                    break
            else:
                todo.pop()
                state[path.pop()] = 2


# ---- what may be lost ------------------------------------------------------------------------------------------------


@looks_for("lossy-control")
def _lossy_control(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        how = how_it_loses(edge.edge)
        if how is None:
            continue
        source = view.plan.nodes[edge.source]
        if view.bands.get(edge.id) is PriorityBand.CONTROL:
            said = "is in the band CONTROL"
        elif _COMMANDS & (_words(edge.target_port) | _words(edge.port)):
            said = "joins ports whose names say that they carry commands"
        elif isinstance(source.node, SourceNode) and _COMMANDS & _words(source.name.rpartition("/")[2]):
            said = f"comes from {source.name!r}, whose name says that it gives commands"
        else:
            continue
        yield Found(
            f"edge {edge.id} {said}, and may lose them by {how} unless they are of type CONTROL",
            edge.target,
            edge.id,
        )


@looks_for("lossy-durable")
def _lossy_durable(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        how = how_it_loses(edge.edge)
        if how is None:
            continue
        name, node = view.plan.nodes[edge.target]
        own = name.rpartition("/")[2]
        words = _words(own) | (set() if isinstance(node, FnNode) else _words(type(node).__name__))
        keeps = ("file" in words and "writer" in words) or {"dead", "letter"} <= words
        if not view.out_of[edge.target] and (keeps or words & _KEEPS):
            yield Found(
                f"edge {edge.id} may lose what node {name!r} is there to keep, by {how}",
                edge.target,
                edge.id,
            )


@looks_for("coalesce-function")
def _coalesce_function(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        policy = edge.edge.default_policy
        if isinstance(policy, Coalesce):
            wrong = _wrong_with(policy, getattr(edge.edge.spec, "schema", None))
            if wrong is not None:
                yield Found(
                    f"edge {edge.id} merges with {_name(policy.fn)}, which {wrong}", edge.target, edge.id
                )


def _wrong_with(policy: Coalesce, schema: Any) -> str | None:
    if inspect.iscoroutinefunction(policy.fn) or inspect.isasyncgenfunction(policy.fn):
        return "is asynchronous: the merged item would be a coroutine"
    function = function_of(policy.fn)
    if function is not None and inspect.isgeneratorfunction(function):
        return "is a generator function: the merged item would be a generator"
    try:
        bound = inspect.signature(policy.fn).bind(None, None)
    except ValueError:  # some builtins have none
        return None
    except TypeError:
        return "can't be called with two items"
    if function is None or policy.on != "payload" or schema is None:
        return None
    try:
        hints = get_type_hints(function)
    except Exception:  # noqa: BLE001 - a name that can't be resolved here: untyped
        return None
    for parameter in bound.arguments:
        hint = hints.get(parameter)
        try:
            if isinstance(hint, type) and hint is not object and not compatible(schema, hint):
                return f"takes {hint.__name__} as {parameter!r}, and the edge carries something else"
        except SchemaError:
            return None
    return None


def _name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    return repr(name) if isinstance(name, str) else type(function).__name__


# ---- names and turns -------------------------------------------------------------------------------------------------


@looks_for("secret-name")
def _secret_name(view: View) -> Iterator[Found]:
    told = redactor().text
    for i, (name, _) in enumerate(view.plan.nodes):
        if told(name) != name:
            yield Found(f"the name of node number {i + 1} looks like something secret: {told(name)!r}", i)


@looks_for("ambiguous-name")
def _ambiguous_name(view: View) -> Iterator[Found]:
    index = {name: i for i, (name, _) in enumerate(view.plan.nodes)}
    todo = [(graph, "") for graph in view.graphs]
    while todo:
        graph, prefix = todo.pop()
        for own, node in graph.nodes.items():
            name, is_nested = prefix + own, isinstance(node, Subgraph)
            if is_nested:
                todo.append((node, name + "/"))
            odd = [sign for sign in ("/", ":", "->") if sign in own]
            kind, i = ("graph", None) if is_nested else ("node", index.get(name))
            if not own or own != own.strip() or not own.isprintable():
                yield Found(f"the name of {kind} {name!r} is empty, or has signs in it that nobody sees", i)
            elif odd:
                yield Found(f"the name of {kind} {name!r} contains {' and '.join(map(repr, odd))}", i)


@looks_for("band-ends")
def _band_ends(view: View) -> Iterator[Found]:
    for edge in view.plan.edges:
        band = view.bands.get(edge.id, PriorityBand.NORMAL)
        after = view.out_of[edge.target]
        if band is PriorityBand.NORMAL or not after:
            continue
        best = max(view.bands.get(each.id, PriorityBand.NORMAL) for each in after)
        if best < band:
            yield Found(
                f"edge {edge.id} is in the band {band.name}, and what node {view.name(edge.target)!r} sends on goes "
                f"no higher than {best.name}",
                edge.target,
                edge.id,
            )


@looks_for("undecided-ticker")
def _undecided_ticker(view: View) -> Iterator[Found]:
    for i, (name, node) in enumerate(view.plan.nodes):
        if (
            not is_ours(type(node))
            and ticks(node)
            and node.regular_ticks
            and type(node).has_pending is Node.has_pending
        ):
            yield Found(f"node {name!r} ticks and doesn't say whether it still has something to do", i)
