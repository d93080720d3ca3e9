"""The same histories on several nodes, until two of them give something else at rest: no model, no rules.

Whatever their schedules are, right nodes at rest have given the same: CONTROL, and all else in each output's order. Not compared is
how a batch divides what it holds when CONTROL meets it on the way, so histories come to rest before each CONTROL.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from random import Random
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import claims
from meridian_conformance.differ import Difference, search
from meridian_conformance.failures import Step
from meridian_conformance.node.checks import SETTLED, draw_history, draw_spec
from meridian_conformance.node.contract import KINDS, NodeSpec
from meridian_conformance.node.session import NodeSession
from meridian_conformance.require import Judge, judging
from meridian_conformance.rules import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def diff(named: Mapping[str, Any], *, examples: int = 500, seed: int = 0, length: int = 30) -> Difference:
    """Play drawn histories on all nodes, and compare what they have given whenever they are at rest.

    Args:
        named: The backends by name.
        examples: How many histories.
        seed: Where the draws start.
        length: Most steps of each, before its end.
    """
    draw = Random(seed)
    shared = reduce(frozenset.__and__, map(claims, named.values()))
    kinds = [kind for kind in KINDS if kind in shared or kind in ("pass", "filter")]

    def drawn() -> tuple[NodeSpec, list[Step]]:
        spec = draw_spec(draw, draw.choice(kinds))
        steps = _without_choices(draw_history(draw, spec, length))
        if (
            spec.kind == "throttle"
        ):  # how much of what waits it holds is its own choice: nothing is to depend on that
            return replace(spec, capacity=len(steps)), [step for step in steps if step.op != "error"]
        return spec, steps

    return search(examples, drawn, partial(_first_difference, named))


def _without_choices(steps: Sequence[Step]) -> list[Step]:
    """Let a history come to rest before all that depends on how far a node has come."""
    made: list[Step] = []
    for step in steps:
        if step.op in ("data", "error", "control", "wait", "end"):
            made.append(SETTLED)
        made += [Step("data", (trait,)) for trait in step.args[:1]] if step.op == "data" else [step]
    return made


def _first_difference(
    named: Mapping[str, Any], spec: NodeSpec, steps: Sequence[Step]
) -> tuple[int, dict[str, str]] | None:
    with judging(Judge(frozenset(load()))):  # what is wrong is not the question here
        sessions = {name: NodeSession(backend, spec) for name, backend in named.items()}
        for i, step in enumerate(steps):
            answers = {name: _answer(session, step) for name, session in sessions.items()}
            if len(set(answers.values())) > 1:
                return i, answers
    return None


def _answer(session: NodeSession, step: Step) -> str:
    try:
        session.play(step)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
    if step.op in ("data", "error", "control"):
        return session.steps[-1].got or ""
    return "; ".join([*session.told(), f"{session.bench.errors()} failures"]) if step.op == "settle" else ""
