"""The same graphs and histories on several engines, until two of them differ: no model, no rules."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from meridian_conformance.differ import Difference, search
from meridian_conformance.engine.checks import draw_graph, draw_history
from meridian_conformance.engine.session import EngineSession
from meridian_conformance.failures import Step
from meridian_conformance.require import Judge, judging
from meridian_conformance.rules import load
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meridian_conformance.engine.contract import Graph


def diff(named: Mapping[str, Any], *, examples: int = 500, seed: int = 0, length: int = 20) -> Difference:
    """Play drawn histories on all engines, and compare after every slice all that the kit knows of them.

    That is: depth, totals and handled items of each edge, parked emissions and failures of each node. So engines agree here
    only if they also agree about the order of slices and their size, as Meridian's own have to.

    Args:
        named: The engines by name.
        examples: How many histories.
        seed: Where the draws start.
        length: Most steps of each, before it is drained.
    """
    draw = Random(seed)

    def drawn() -> tuple[Graph, list[Step]]:
        graph = draw_graph(draw)
        return graph, _by_slices(draw_history(draw, graph, length))

    return search(examples, drawn, partial(_first_difference, named))


def _by_slices(steps: Sequence[Step]) -> list[Step]:
    made: list[Step] = []
    for step in steps:
        if step.op in ("step", "drain"):
            made += [Step("step")] * (step.args[0] if step.args else 40)
        made += [step] if step.op != "step" else []
    return made


def _first_difference(
    named: Mapping[str, Any], graph: Graph, steps: Sequence[Step]
) -> tuple[int, dict[str, str]] | None:
    with judging(Judge(frozenset(load()))):  # what is wrong is not the question here
        sessions = {name: EngineSession(backend, graph) for name, backend in named.items()}
        for i, step in enumerate(steps):
            answers = {name: _answer(session, step) for name, session in sessions.items()}
            if len(set(answers.values())) > 1:
                return i, answers
    return None


def _answer(session: EngineSession, step: Step) -> str:
    try:
        session.play(step)
    except Broken as broken:
        return str(broken)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
    return f"{session.steps[-1].got}: {session.summary()}"
