"""The same graphs and histories on several engines, until two of them differ.

There are two levels. By default compared is what the rules promise, so right engines agree whatever their schedules are:
what every edge and node has to show at rest, as far as the rules settle it. Exactly compared is everything, after every slice.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from random import Random
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import claims
from meridian_conformance.differ import Difference, search
from meridian_conformance.engine.checks import draw_graph, draw_history
from meridian_conformance.engine.session import EngineSession, least_budget
from meridian_conformance.failures import Step
from meridian_conformance.require import Judge, judging
from meridian_conformance.rules import load
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meridian_conformance.engine.contract import Graph


def diff(
    named: Mapping[str, Any], *, examples: int = 500, seed: int = 0, length: int = 20, exact: bool = False
) -> Difference:
    """Play drawn histories on all engines, and compare what they answer.

    Args:
        named: The engines by name.
        examples: How many histories.
        seed: Where the draws start.
        length: Most steps of each, before it is drained.
        exact: Compare after every slice all that the kit knows of them: depth, totals and handled items of each edge, parked
            emissions and failures of each node. Engines agree then only if they also agree about the order of slices and
            their size, as Meridian's own have to. Otherwise what is compared is told by `promised`.
    """
    draw = Random(seed)
    shared = reduce(frozenset.__and__, map(claims, named.values()))

    def drawn() -> tuple[Graph, list[Step]]:
        graph = draw_graph(draw, shared)
        steps = draw_history(draw, graph, length)
        return (graph, _by_slices(steps)) if exact else (_settling(graph), _without_choices(steps))

    return search(examples, drawn, partial(_first_difference, named, _answer if exact else _answer_at_rest))


def _by_slices(steps: Sequence[Step]) -> list[Step]:
    made: list[Step] = []
    for step in steps:
        if step.op in ("step", "drain"):
            made += [Step("step")] * (step.args[0] if step.args else 40)
        made += [step] if step.op != "step" else []
    return made


def _settling(graph: Graph) -> Graph:
    """Return the graph without a byte budget that may stall it: when it does is a matter of the schedule."""
    small = graph.budget is not None and graph.budget < least_budget(graph)
    return replace(graph, budget=None) if small else graph


def _without_choices(steps: Sequence[Step]) -> list[Step]:
    """Leave out what ends one of the works in progress: which ones those are is a matter of the schedule."""
    return [step for step in steps if step.op not in ("finish", "fail", "cancel")]


def _first_difference(
    named: Mapping[str, Any],
    answer: Callable[[EngineSession, Step], str],
    graph: Graph,
    steps: Sequence[Step],
) -> tuple[int, dict[str, str]] | None:
    with judging(Judge(frozenset(load()))):  # what is wrong is not the question here
        sessions = {name: EngineSession(backend, graph) for name, backend in named.items()}
        try:
            for i, step in enumerate(steps):
                answers = {name: answer(session, step) for name, session in sessions.items()}
                if len(set(answers.values())) > 1:
                    return i, answers
        finally:
            for session in sessions.values():
                session.close()
    return None


def _answer(session: EngineSession, step: Step) -> str:
    try:
        session.play(step)
    except Broken as broken:
        return str(broken)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
    return f"{session.steps[-1].got}: {session.summary()}"


def _answer_at_rest(session: EngineSession, step: Step) -> str:
    """Play a step, and tell what is promised once the engine is at rest; in between engines may differ.

    Whether something from outside finds room depends on how far an engine has come, so that is put on it at rest.
    """
    from_outside = step.op in ("offer", "control")
    try:
        if from_outside:
            _rest(session)
        session.play(step)
        answer = f"{step.op} {session.steps[-1].got}: " if from_outside else ""
        if not from_outside and step.op != "drain":
            return ""
        return answer + _rest(session)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__


def _rest(session: EngineSession) -> str:
    """Let all nodes go on until nothing is due; tell what is promised then."""
    for node in sorted(session.paused):
        session.play(Step("resume", (node,)))
    session.play(Step("drain"))
    if session.steps[-1].got == "endless":
        return "never at rest"
    return "; ".join(promised(session))


def promised(session: EngineSession) -> list[str]:
    """Return what the rules settle about an engine at rest, whatever its schedule was, part by part.

    Of every edge: nothing is held, and accepted = delivered + lost + merged. Of those that no loss lies upstream of also how much they
    accepted, and if they block themselves what was delivered over them, in which order; of nodes that all such edges lead to
    how often they failed. What an edge that may lose lost, and what comes after it, is a matter of the schedule.
    """
    engine, world, graph = session.engine, session.world, session.graph
    source_of = {
        item: f"{node}.{nth}"
        for node, items in enumerate(map(world.emitted, range(len(graph.nodes))))
        for nth, item in enumerate(items, 1)
    }
    source_of |= {
        item: f"outside.{n}.{nth}"
        for n in range(len(graph.links))
        for nth, item in enumerate((*session.offered[n], *session.sent[n]), 1)
    }
    settled = _settled_nodes(graph)
    told: list[str] = []
    for n, link in enumerate(graph.links):
        counters = engine.counters(n)
        lost = sum(counters["lost"].values())
        gone = counters["delivered"] + counters["merged"] + lost
        part = f"edge {n}: depth {engine.depth(n)}, {counters['accepted'] - gone} unaccounted for"
        if link.source in settled:
            part += f", accepted {counters['accepted']}"
            if link.lossless:
                part += f", delivered {counters['delivered']}, lost {lost}, merged {counters['merged']}"
                part += f", in order {' '.join(source_of[item] for item in world.handled[n])}"
        part += f", CONTROL {' '.join(source_of[item] for item in world.obeyed[n])}"
        told.append(part)
    for node in range(len(graph.nodes)):
        part = f"node {node}: parked {engine.parked(node)}"
        told.append(part + f", failed {engine.errors(node)}" if node in settled else part)
    return told


def _settled_nodes(graph: Graph) -> set[int]:
    """Return the nodes that no edge lies upstream of which may lose: how many items they handle is settled."""
    settled: set[int] = set()
    for node in range(len(graph.nodes)):  # edges lead from lower numbers to higher ones
        links = [graph.links[n] for n in graph.entering(node)]
        if all(link.lossless and link.source in settled for link in links):
            settled.add(node)
    return settled
