"""The same histories on several ready queues, until two of them pick differently: no model, no rules."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import EMPTY, Capability, claims
from meridian_conformance.differ import Difference, search
from meridian_conformance.failures import Step
from meridian_conformance.ready.contract import BANDS, QueueSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def diff(named: Mapping[str, Any], *, examples: int = 500, seed: int = 0, length: int = 60) -> Difference:
    """Play drawn histories on all ready queues, and compare each pick and how many turns wait.

    Queues agree here only if they follow the same strategy, as Meridian's own do; the rules leave the choice open.

    Args:
        named: The backends by name.
        examples: How many histories.
        seed: Where the draws start.
        length: Steps of each.
    """
    draw = Random(seed)
    moves = all(Capability.BAND_CHANGE in claims(backend) for backend in named.values())

    def drawn() -> tuple[QueueSpec, list[Step]]:
        weights = draw.randint(1, 9), draw.randint(1, 9), draw.randint(1, 9)
        spec = QueueSpec(weights, turns=draw.randint(1, 8))
        return spec, _history(draw, spec.turns, length, moves)

    return search(examples, drawn, partial(_first_difference, named))


def _history(draw: Random, turns: int, length: int, moves: bool) -> list[Step]:
    bands: dict[int, str] = {}
    steps: list[Step] = []
    picks = draw.random()
    for _ in range(length):
        turn = draw.randrange(turns)
        if draw.random() < picks:
            steps.append(Step("pick"))
        elif moves and turn in bands and draw.random() < 0.2:
            bands[turn] = draw.choice(BANDS)
            steps.append(Step("set_band", (turn, bands[turn])))
        else:
            bands.setdefault(turn, draw.choice(BANDS))
            steps.append(Step("enqueue", (turn, bands[turn])))
    return [*steps, *[Step("pick")] * (turns + 1)]


def _first_difference(
    named: Mapping[str, Any], spec: QueueSpec, steps: Sequence[Step]
) -> tuple[int, dict[str, str]] | None:
    queues = {name: backend.open(spec) for name, backend in named.items()}
    for i, step in enumerate(steps):
        answers = {name: _answer(queue, step) for name, queue in queues.items()}
        if len(set(answers.values())) > 1:
            return i, answers
    return None


def _answer(queue: Any, step: Step) -> str:
    try:
        if step.op == "pick":
            picked = queue.pick()
            if picked is EMPTY:
                return f"EMPTY, {queue.waiting()} wait"
            queue.finish(picked)
            return f"turn {picked}, {queue.waiting()} wait"
        getattr(queue, step.op)(*step.args)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
    return f"{queue.waiting()} wait"
