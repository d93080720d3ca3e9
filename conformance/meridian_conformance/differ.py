"""The same histories on several backends, until two of them answer differently: no model, no rules."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, TypeVar

from meridian_conformance.contract import EMPTY, POLICIES, Capability, EdgeSpec, claims
from meridian_conformance.failures import Step
from meridian_conformance.payloads import payload, shown
from meridian_conformance.session import Clock, discard

S = TypeVar("S")


@dataclass(slots=True)
class Difference:
    """What `diff` found.

    Attributes:
        examples: How many histories were played.
        spec: The edge on which they differ, or the graph if they are engines, or ``None``.
        steps: The history up to the step in which they differ.
        answers: What each backend answered to that step.
    """

    examples: int
    spec: Any = None
    steps: tuple[Step, ...] = ()
    answers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def differs(self) -> bool:
        """Whether there was a difference."""
        return self.spec is not None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "differs": self.differs,
            "examples": self.examples,
            "spec": None if self.spec is None else self.spec.to_json(),
            "steps": [step.to_json() for step in self.steps],
            "answers": self.answers,
        }

    def text(self) -> str:
        """Return it as text."""
        if self.spec is None:
            return f"no difference in {self.examples} histories"
        lines = [f"first difference in history {self.examples}, on {self.spec}:"]
        lines += [f"  {step.op}({', '.join(map(str, step.args))})" for step in self.steps]
        lines += [f"    {name}: {answer}" for name, answer in self.answers.items()]
        return "\n".join(lines)


def diff(named: Mapping[str, Any], *, examples: int = 500, seed: int = 0, length: int = 40) -> Difference:
    """Play drawn histories on all backends.

    Args:
        named: The backends by name.
        examples: How many histories.
        seed: Where the draws start.
        length: Steps of each.
    """
    draw = random.Random(seed)
    shared = reduce(frozenset.__and__, (claims(backend) for backend in named.values()))

    def drawn() -> tuple[EdgeSpec, list[Step]]:
        spec = EdgeSpec(draw.randint(1, 5), draw.choice(POLICIES), draw.choice(("collect", "newer", "fail")))
        return spec, _history(draw, length, shared)

    return search(examples, drawn, partial(_first_difference, named))


def search(
    examples: int,
    drawn: Callable[[], tuple[S, Sequence[Step]]],
    first_difference: Callable[[S, Sequence[Step]], tuple[int, dict[str, str]] | None],
) -> Difference:
    """Look for a history that is answered differently, and make it shorter.

    Args:
        examples: How many histories are drawn.
        drawn: Draws on what they are played, and their steps.
        first_difference: Plays one; returns the step in which answers differ, and these, or ``None``.
    """
    for n in range(1, examples + 1):
        spec, steps = drawn()
        found = first_difference(spec, steps)
        if found is not None:
            at, answers = found
            steps = steps[: at + 1]
            i = 0
            while i < len(steps):
                fewer = [*steps[:i], *steps[i + 1 :]]
                found = first_difference(spec, fewer)
                if found is None:
                    i += 1
                else:
                    steps, answers = fewer[: found[0] + 1], found[1]
            return Difference(n, spec, tuple(steps), answers)
    return Difference(examples)


def _history(draw: random.Random, length: int, shared: frozenset[str]) -> list[Step]:
    steps: list[Step] = []
    puts = draw.random()
    for i in range(length):
        chance = draw.random()
        if chance < 0.02:
            steps.append(Step("close"))
        elif chance < 0.12 and Capability.CONTROL in shared:
            steps.append(Step("put_control", (i,)))
        else:
            steps.append(
                Step("put", (draw.choice((i, i, [i], None, "")),)) if draw.random() < puts else Step("get")
            )
    return [*steps, *[Step("get")] * 6]


def _first_difference(
    named: Mapping[str, Any], spec: EdgeSpec, steps: Sequence[Step]
) -> tuple[int, dict[str, str]] | None:
    edges = {
        name: backend.open(EdgeSpec(spec.capacity, spec.policy, spec.coalesce, clock=Clock()))
        for name, backend in named.items()
    }
    try:
        for i, step in enumerate(steps):
            answers = {name: _answer(edge, step) for name, edge in edges.items()}
            if len(set(answers.values())) > 1:
                return i, answers
    finally:
        for name, edge in edges.items():
            discard(named[name], edge)
    return None


def _answer(edge: Any, step: Step) -> str:
    try:
        if step.op == "get":
            got = edge.get()
            told = "EMPTY" if got is EMPTY else shown(got)
        elif step.op == "close":
            edge.close()
            told = "closed"
        else:
            told = str(getattr(edge, step.op)(payload(step.args[0])))
        counters = edge.counters()
        lost = {cause: n for cause, n in sorted(counters["lost"].items()) if n}
        return f"{told}, depth {edge.depth()}, accepted {counters['accepted']}, lost {lost}"
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
