"""What rules look at: the plan of a graph, and the code of its nodes."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from meridian.core.function import FnNode, SourceNode
from meridian.core.policies import Block, Drop, Latest
from meridian.lint.model import Spot
from meridian.lint.source import Code, Sources, function_of
from meridian.redaction import type_name
from meridian.runtime.plan import Plan, PlannedEdge, _inner

if TYPE_CHECKING:
    from types import FunctionType

    from meridian.core.edge import Edge
    from meridian.core.node import Node
    from meridian.core.runtime_plan import PriorityBand
    from meridian.core.subgraph import Subgraph

HANDLING: Final = ("on_message", "_handle_message", "on_tick", "_handle_tick")
"""Hooks that run while messages flow."""

HOOKS: Final = (*HANDLING, "on_start", "on_drain", "on_stop")

_OURS: Final = ("meridian.", "meridian_fast")


@dataclass(frozen=True, slots=True)
class Handler:
    """One function that a node runs.

    Attributes:
        node: Index of the node.
        kind: Name of a hook, ``"function"``, ``"source"``, or ``"worker"`` for what runs in a thread of its own.
        code: Its source.
    """

    node: int
    kind: str
    code: Code

    @property
    def on_loop(self) -> bool:
        """Whether other nodes stand still while it runs, message after message."""
        return self.kind in HANDLING or self.kind in ("function", "source")

    def payload(self, function_node: bool) -> tuple[str | None, str | None]:
        """Return the name of its parameter that is a payload, and that of the one that is a `Message`."""
        parameters = self.code.parameters
        if self.kind in ("on_message", "_handle_message"):
            return None, parameters[2] if len(parameters) > 2 else None
        if function_node and parameters:
            return parameters[0], None
        return None, None


def is_ours(cls: Any) -> bool:
    """Say whether a class or function is Meridian's own."""
    module = str(getattr(cls, "__module__", ""))
    return module.startswith(_OURS) and not module.startswith("meridian._tests.")


def _is_pythons(function: FunctionType) -> bool:
    """Say whether a function comes with Python, such as the ``put`` of a queue: nobody's to mend."""
    return str(function.__module__).partition(".")[0] in sys.stdlib_module_names - {"__main__"}


@dataclass(frozen=True, slots=True)
class View:
    """A graph, ready to be looked at.

    Attributes:
        graphs: What was registered.
        plan: What would run; without edges if the graph is invalid.
        is_valid: A run would take it.
        into: Edges into each node.
        out_of: Edges out of each node.
        bands: Band of each edge that was given one, by id.
        handlers: The code of each node.
        unseen: For each node what couldn't be looked at.
        spots: Where each node is defined.
        open_inputs: (node, port) of inputs that a graph shows to the outside.
        open_outputs: (node, port) of such outputs.
    """

    graphs: list[Subgraph]
    plan: Plan
    is_valid: bool
    into: list[list[PlannedEdge]]
    out_of: list[list[PlannedEdge]]
    bands: dict[str, PriorityBand]
    handlers: list[list[Handler]]
    unseen: list[list[str]]
    spots: list[Spot | None]
    open_inputs: set[tuple[str, str]]
    open_outputs: set[tuple[str, str]]

    def all_handlers(self) -> Iterator[Handler]:
        """Yield the code of all nodes."""
        for each in self.handlers:
            yield from each

    def name(self, node: int) -> str:
        """Return the name of a node."""
        return self.plan.nodes[node].name


def look_at(
    graphs: list[Subgraph], plan: Plan, bands: dict[str, PriorityBand], sources: Sources, *, is_valid: bool
) -> View:
    """Gather what rules look at."""
    n = len(plan.nodes)
    view = View(
        graphs,
        plan,
        is_valid,
        [[] for _ in range(n)],
        [[] for _ in range(n)],
        bands,
        [[] for _ in range(n)],
        [[] for _ in range(n)],
        [None] * n,
        set(),
        set(),
    )
    for edge in plan.edges:
        view.out_of[edge.source].append(edge)
        view.into[edge.target].append(edge)
    for graph in graphs if is_valid else ():
        view.open_inputs.update(
            _inner(graph, *end, "exposed_inputs") for end in graph.exposed_inputs.values()
        )
        view.open_outputs.update(
            _inner(graph, *end, "exposed_outputs") for end in graph.exposed_outputs.values()
        )
    for i, planned in enumerate(plan.nodes):
        try:
            _read_node(view, i, planned.node, sources)
        except Exception as error:  # noqa: BLE001 - nodes are other people's objects, whose attributes may raise anything
            view.unseen[i].append(f"node {planned.name!r} can't be looked at: {type_name(error)}")
    return view


def _read_node(view: View, i: int, node: Node, sources: Sources) -> None:
    for kind, thing, owner in _functions(node):
        function = function_of(thing)
        if function is None or is_ours(function) or _is_pythons(function):
            continue
        found = sources.definition(function)
        if found is None:
            view.unseen[i].append(f"the source of {function.__qualname__}() can't be read")
            continue
        module, tree = found
        view.handlers[i].append(Handler(i, kind, Code(function, module, tree, owner)))
    if isinstance(node, (FnNode, SourceNode)) or is_ours(type(node)):
        view.spots[i] = next((handler.code.spot() for handler in view.handlers[i]), None)
    else:
        view.spots[i] = _class_spot(type(node), view.handlers[i])


def _functions(node: Node) -> Iterator[tuple[str, Any, Any]]:
    """Yield what a node runs: the kind, the callable, and what ``self`` is in it."""
    if isinstance(node, FnNode):
        yield "function", node.function.fn, None
    elif isinstance(node, SourceNode):
        if callable(node.items):
            yield "source", node.items, None
    elif is_ours(type(node)):
        in_threads = any(cls.__name__ == "BackgroundNode" for cls in type(node).__mro__)
        for value in vars(node).values():
            function = function_of(value) if callable(value) else None
            if function is not None and not is_ours(function):
                kind = "worker" if in_threads and not inspect.iscoroutinefunction(function) else "function"
                yield kind, value, None
    else:
        for hook in HOOKS:
            own = vars(node).get(hook)
            held = inspect.getattr_static(type(node), hook, None) if own is None else own
            function = function_of(held)
            if function is not None and not is_ours(function):
                yield hook, held, node


def _class_spot(cls: type, handlers: list[Handler]) -> Spot | None:
    for handler in handlers:
        for each in ast.walk(handler.code.module.tree):
            if (
                isinstance(each, ast.ClassDef)
                and each.name == cls.__name__
                and handler.code.tree in each.body
            ):
                first = min([each.lineno, *(decorator.lineno for decorator in each.decorator_list)])
                return Spot(handler.code.module.file, first, each.lineno)
    return next((handler.code.spot() for handler in handlers), None)


# ---- edges -----------------------------------------------------------------------------------------------------------


def blocks(edge: Edge[Any]) -> bool:
    """Say whether an edge accepts nothing while it is full."""
    return edge.default_policy is None or isinstance(edge.default_policy, Block)


def how_it_loses(edge: Edge[Any]) -> str | None:
    """Say how an edge may lose data, or ``None``."""
    if isinstance(edge.default_policy, (Drop, Latest)):
        return f"{edge.default_policy!r}"
    if edge.max_age_s is not None:
        return f"max_age_s={edge.max_age_s:g}"
    return None
