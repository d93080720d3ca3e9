"""One pass over a graph: every rule looks, and what was suppressed is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from meridian.core.node import Node
from meridian.core.places import shown_path
from meridian.core.scheduler import Scheduler
from meridian.core.subgraph import Subgraph
from meridian.lint import handlers as _handlers
from meridian.lint import wiring as _wiring
from meridian.lint.model import LEVELS, Found, Lint, Spot, looks, rules
from meridian.lint.source import Sources
from meridian.lint.suppress import Ignore, Settings, comments, mapping
from meridian.lint.view import View, look_at
from meridian.redaction import redactor, type_name
from meridian.runtime.plan import Plan, PlannedNode, build_plan
from meridian.runtime.validate import _all_nodes, validate_together

if TYPE_CHECKING:
    from meridian.core.places import Places
    from meridian.core.runtime_plan import PriorityBand

OF_THEMSELVES: Final = ("unseen", "bad-ignore", "unused-ignore", "invalid-graph")
"""Rules that no function looks for: they are told along the way."""

LOOKING: Final = (_wiring, _handlers)
"""The modules whose functions look; imported so that they declare themselves."""


def lint(
    graph: Subgraph | Scheduler | Node | Iterable[Subgraph],
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    settings: Settings | None = None,
    places: Places | None = None,
) -> tuple[Lint, ...]:
    """Look for smells in a graph without running it.

    Args:
        graph: A graph, several that are run together, one node, or a scheduler with what is registered there.
        select: Ids of the rules to look with; all of them by default.
        ignore: Ids of rules to leave out.
        settings: What holds for the whole project, as `read_settings` returns it; nothing by default.
        places: Where edges were declared, as `meridian.core.places.recorded` gave it while the graph was built. Without
            it findings about edges have no line, and no comment reaches them.

    Returns:
        What was found, errors first, each in the order of the graph.

    Raises:
        ValueError: there is no rule of that name.

    Nothing of the graph's own code is run. What can't be read is told by the rule ``unseen`` and is no reason to
    fail: neither sources nor objects are trusted.
    """
    settings = (settings or Settings()).narrowed(select, ignore)
    graphs, bands = _graphs(graph)
    issues = [issue for issue in validate_together(graphs) if issue.level == "error"]
    plan = Plan([PlannedNode(*each) for each in _nodes(graphs)], [], []) if issues else build_plan(graphs)
    sources = Sources()
    view = look_at(graphs, plan, bands, sources, is_valid=not issues)
    found = [("invalid-graph", Found(f"{each.code}: {each.message}")) for each in issues]
    for id, look in looks.items():
        if settings.looks(id):
            found += _asked(id, look(view))
    found += (("unseen", Found(what, i)) for i, texts in enumerate(view.unseen) for what in texts)
    told = _Telling(view, sources, settings, places)
    return told.lints(found)


def _graphs(graph: Any) -> tuple[list[Subgraph], dict[str, PriorityBand]]:
    if isinstance(graph, Scheduler):
        return list(graph._graphs), dict(graph._bands)
    if isinstance(graph, Subgraph):
        return [graph], {}
    if isinstance(graph, Node):
        return [Subgraph.from_nodes(graph.name, [graph])], {}
    return list(graph), {}


def _nodes(graphs: list[Subgraph]) -> Iterator[tuple[str, Any]]:
    for graph in graphs:
        yield from _all_nodes(graph, "")


def _asked(id: str, found: Iterator[Found]) -> list[tuple[str, Found]]:
    """Return what a rule finds, until something that it looks at refuses to be looked at."""
    kept: list[tuple[str, Found]] = []
    try:
        kept.extend((id, each) for each in found)
    except Exception as error:  # noqa: BLE001 - nodes are other people's objects, whose attributes may raise anything
        kept.append(("unseen", Found(f"the rule {id} had to give up: {type_name(error)}")))
    return kept


class _Telling:
    """Turns what was found into what is told."""

    def __init__(self, view: View, sources: Sources, settings: Settings, places: Places | None) -> None:
        self.view, self.settings = view, settings
        self.edges: dict[str, Spot] = {}
        for edge in view.plan.edges if places is not None else ():
            place = places.of(edge.edge) if places is not None else None
            if place is not None:
                self.edges[edge.id] = Spot(*place)
                sources.file(place.file)
        self.comments: dict[str, dict[int, Ignore]] = {}
        self.bad: list[Found] = []
        for module in sources.modules.values():
            if module is not None:
                good, bad = comments(module)
                self.comments[module.file] = good
                self.bad += [Found(what, None, None, spot) for spot, what in bad if self._is_ours(spot)]
        self.by_node: list[list[Ignore]] = [[] for _ in view.plan.nodes]
        for i, (name, node) in enumerate(view.plan.nodes):
            self._add(i, node, f"node {name!r}")
            self._add(i, getattr(node, "function", None), f"node {name!r}")
        self.by_graph: list[Ignore] = []
        for graph in view.graphs:
            kept, wrong = mapping(graph, f"graph {graph.name!r}")
            self.by_graph += [kept] if kept is not None else []
            self.bad += [Found(each) for each in wrong]

    def _add(self, i: int, owner: Any, said: str) -> None:
        kept, wrong = mapping(owner, said)
        if kept is not None:
            self.by_node[i].append(kept)
        self.bad += [Found(each, i) for each in wrong]

    def lints(self, found: list[tuple[str, Found]]) -> tuple[Lint, ...]:
        """Return what is told: without what is suppressed, and each place once for a rule."""
        found = [*found, *(("bad-ignore", each) for each in self.bad)]
        told: dict[tuple[Any, ...], Lint] = {}
        for id, each in found:
            if self._is_told(id, each):
                lint = self._lint(id, each)
                told.setdefault((id, each.spot) if each.spot is not None else (id, lint.what), lint)
        for each in self._unused():
            if self._is_told("unused-ignore", each):
                lint = self._lint("unused-ignore", each)
                told.setdefault(("unused-ignore", lint.what, lint.line), lint)
        return tuple(sorted(told.values(), key=lambda lint: LEVELS.index(lint.level)))

    def _is_told(self, id: str, found: Found) -> bool:
        if not self.settings.looks(id):
            return False
        names = (None if found.node is None else self.view.name(found.node), found.edge)
        if not self.settings.allows(id, names):
            return False
        suppressed = [each for each in self._over(found) if id in each.rules]
        for each in suppressed:
            each.used.add(id)
        return not suppressed

    def _over(self, found: Found) -> Iterator[Ignore]:
        """Yield the suppressions that reach a finding."""
        spots = [found.spot] if found.spot is not None else []
        if found.edge in self.edges:
            spots.append(self.edges[found.edge])
        if found.node is not None:
            yield from self.by_node[found.node]
            own = self.view.spots[found.node]
            spots += [own] if own is not None else []
            if found.spot is not None:
                spots += [
                    handler.code.spot()
                    for handler in self.view.handlers[found.node]
                    if _within(found.spot, handler.code.module.file, handler.code.tree)
                ]
        yield from self.by_graph
        for spot in spots:
            lines = self.comments.get(spot.file, {})
            for line in range(spot.line, spot.last + 1):
                if line in lines:
                    yield lines[line]

    def _is_ours(self, spot: Spot) -> bool:
        """Say whether a comment stands in something of this graph; a file may hold many."""
        return any(
            _within(spot, handler.code.module.file, handler.code.tree) for handler in self.view.all_handlers()
        ) or any(
            own is not None and own.file == spot.file and own.line <= spot.line <= own.last
            for own in (*self.view.spots, *self.edges.values())
        )

    def _unused(self) -> Iterator[Found]:
        for lines in self.comments.values():
            for each in lines.values():
                if each.spot is not None and self._is_ours(each.spot):
                    for id in self._idle(each):
                        yield Found(f"a comment ignores {id}, which finds nothing there", spot=each.spot)
        for i, ignores in enumerate(self.by_node):
            for each in ignores:
                for id in self._idle(each):
                    yield Found(f"{each.said} ignores {id}, which finds nothing there", i)
        for each in self.by_graph:
            for id in self._idle(each):
                yield Found(f"{each.said} ignores {id}, which finds nothing there")

    def _idle(self, ignore: Ignore) -> list[str]:
        return sorted(id for id in ignore.rules - ignore.used if self.settings.looks(id))

    def _lint(self, id: str, found: Found) -> Lint:
        rule, tell = rules()[id], redactor().text
        spot = found.spot
        if spot is None and found.edge is not None:
            spot = self.edges.get(found.edge)
        elif spot is None and found.node is not None:
            spot = self.view.spots[found.node]
        return Lint(
            id,
            rule.level,
            None if found.node is None else tell(self.view.name(found.node)),
            None if found.edge is None else tell(found.edge),
            tell(found.what),
            rule.reason,
            rule.fix,
            None if spot is None else shown_path(spot.file),
            None if spot is None else spot.line,
        )


def _within(spot: Spot, file: str, tree: Any) -> bool:
    first = min([tree.lineno, *(each.lineno for each in getattr(tree, "decorator_list", ()))])
    return spot.file == file and first <= spot.line <= tree.end_lineno
