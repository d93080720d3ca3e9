"""Power cuts and deaths: what a durable edge acknowledged is there when it is opened again.

Defined for every backend that claims ``durable`` (and ``torn``); Meridian's own stores come later.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from meridian_conformance import replay
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EMPTY, EdgeSpec, Put
from meridian_conformance.failures import Step, Trace
from meridian_conformance.model import Model
from meridian_conformance.payloads import payload, same, shown
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

SPECS: Final = tuple(
    EdgeSpec(capacity, policy, "newer" if policy == "coalesce" else None)
    for capacity in (1, 3)
    for policy in ("block", "drop", "latest", "coalesce")
)

MOST_STEPS: Final = 60
"""A put that isn't over after so many internal steps is taken for one that never is."""


@check("durable", judges=["EDGE-150"], needs=["durable"])
def crash(exam: Examination) -> None:
    """Play drawn histories with crashes in them."""
    draw = random.Random(exam.seed)
    for _ in range(max(exam.effort.examples // 4, 10)):
        for spec in SPECS:
            exam.runs += 1
            steps = _history(draw)
            try:
                survives(exam.backend, spec, steps)
            except RuleViolation as violation:
                exam.found([violation], spec, steps, player="crash")
        if exam.over:
            return


def _history(draw: random.Random) -> list[Step]:
    puts = draw.uniform(0.3, 0.9)
    steps: list[Step] = []
    for i in range(draw.randint(1, 12)):
        chance = draw.random()
        if chance < 0.15:
            steps.append(Step("crash"))
        else:
            steps.append(
                Step("put", (draw.choice((i, [i], "", {"n": i})),)) if draw.random() < puts else Step("get")
            )
    return [*steps, Step("crash")]


def survives(backend: Any, spec: EdgeSpec, steps: Sequence[Step]) -> None:
    """Require that every crash leaves what was acknowledged and not taken.

    Raises:
        RuleViolation: it doesn't.
    """
    model = Model(spec, spec.merge)
    edge = backend.open(spec)
    before: list[Any] = []  # what was taken, and may come again
    try:
        for step in steps:
            if step.op == "put":
                item = payload(step.args[0])
                expected, got = str(model.put(item)), str(edge.put(item))
                if got != expected:
                    return  # that is another rule's matter
            elif step.op == "get":
                item, got = model.get(), edge.get()
                if item is EMPTY or not same(item, got):
                    if item is not EMPTY or got is not EMPTY:
                        return
                else:
                    before.append(item)
            else:
                if model.depth():
                    seen("EDGE-150", "crashed while holding items")
                backend.crash(edge)
                again = _reopened(backend, edge, "EDGE-150")
                if again is None:
                    return
                edge = again
                seen("EDGE-150", "reopened")
                depth = edge.depth()
                require("EDGE-150", depth >= model.depth(), held=depth, acknowledged=model.depth())
                require("EDGE-101", depth <= max(spec.capacity, model.depth() + len(before)), depth=depth)
                if depth != model.depth():
                    break  # items come again: what follows can't be told by the model
        _judge(edge, model.held(), before)
    finally:
        discard(backend, edge)


def _reopened(backend: Any, edge: Any, rule: str) -> Any:
    """Open what a dead edge left; ``None`` if it can't be opened, and that isn't judged."""
    try:
        return backend.reopen(edge)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        require(rule, False, reopening_raised=type(error).__name__)
        return None


def _judge(edge: Any, held: list[Any], before: list[Any]) -> None:
    out: list[Any] = []
    for _ in range(len(held) + len(before) + 5):
        item = edge.get()
        if item is EMPTY:
            break
        out.append(item)
    again = len(out) - len(held)
    expected = before[len(before) - again :] + held if 0 <= again <= len(before) else held
    whole = len(out) == len(expected) and all(map(same, out, expected))
    require("EDGE-150", whole, came_out=shown(out), acknowledged=shown(held), taken_before=shown(before))


# ---- death within a put ----------------------------------------------------------------------------------------------


@check("durable", judges=["EDGE-141"], needs=["durable", "torn"])
def torn(exam: Examination) -> None:
    """Die between any two steps of a put, and look at what is there."""
    for capacity in (1, 2, 4):
        for held in range(capacity):
            for at in range(MOST_STEPS):
                exam.runs += 1
                spec = EdgeSpec(capacity)
                steps = [Step("put", ([i, "x" * 10],)) for i in range(held)]
                steps.append(Step("die_in_put", (["torn", "y" * 50], at)))
                try:
                    if not whole_or_not_at_all(exam.backend, spec, steps):
                        break
                except RuleViolation as violation:
                    exam.found([violation], spec, steps, player="torn")
                    break
            if exam.over:
                return


def whole_or_not_at_all(backend: Any, spec: EdgeSpec, steps: Sequence[Step]) -> bool:
    """Require that the item of a put that died is there as a whole or not at all; say whether it died.

    Raises:
        RuleViolation: it is torn, or it tore something else.
    """
    edge = backend.open(spec)
    try:
        held: list[Any] = []
        died = False
        dying: Any = EMPTY
        for step in steps:
            item = payload(step.args[0])
            if step.op == "put":
                if str(edge.put(item)) == Put.OK:
                    held.append(item)
                continue
            dying = item
            died = bool(backend.crash_in_put(edge, item, step.args[1]))
            if died:
                seen("EDGE-141", "died within a put")
            else:
                held.append(item)
            again = _reopened(backend, edge, "EDGE-141")
            if again is None:
                return died
            edge = again
            seen("EDGE-141", "reopened")
        out: list[Any] = []
        for _ in range(len(held) + 5):
            try:
                item = edge.get()
            except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
                require("EDGE-141", False, get_raised=type(error).__name__)
                return died
            if item is EMPTY:
                break
            out.append(item)
        allowed = [held, [*held, dying]] if died else [held]
        fits = any(len(out) == len(each) and all(map(same, out, each)) for each in allowed)
        require("EDGE-141", fits, came_out=shown(out), acknowledged=shown(held), died_with=shown(dying))
        return died
    finally:
        discard(backend, edge)


def _replay_crash(backend: Any, trace: Trace) -> None:
    survives(backend, EdgeSpec.from_json(trace.spec), trace.steps)


def _replay_torn(backend: Any, trace: Trace) -> None:
    whole_or_not_at_all(backend, EdgeSpec.from_json(trace.spec), trace.steps)


replay.PLAYERS["crash"] = replay.player_from(_replay_crash)
replay.PLAYERS["torn"] = replay.player_from(_replay_torn)
