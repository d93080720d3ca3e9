"""How nodes are examined: all short histories of each kind of node, and drawn long ones."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.failures import Step
from meridian_conformance.node.contract import KINDS, NodeSpec
from meridian_conformance.node.session import play, replayed
from meridian_conformance.replay import PLAYERS, player_from
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL_KINDS: Final = ("NODE-601", "NODE-606", "NODE-608", "NODE-609")
"""The rules that a node of any kind can break."""

PLAIN: Final = (
    NodeSpec(),
    NodeSpec("filter", capacity=4),
    NodeSpec("filter", on_error="emit"),
    NodeSpec("filter", by="type"),
)
ROUTES: Final = (
    NodeSpec("route", capacity=4),
    NodeSpec("route", default=True, capacity=1),
    NodeSpec("route", by="type"),
)
BATCHES: Final = (
    NodeSpec("batch", size=3, capacity=4),
    NodeSpec("batch", size=2, capacity=1),
    NodeSpec("batch", size=3, within_s=1.0, capacity=4),
)
THROTTLES: Final = (
    NodeSpec("throttle", burst=2, rate=2.0, capacity=4),
    NodeSpec("throttle", burst=1, rate=1.0, capacity=4),
)

FULL: Final = 2
"""Edges that hold no more are filled before short histories begin."""

SETTLED: Final = Step("settle")
OPS: Final = (
    Step("data", (0, 1)),
    Step("data", (3, 2)),
    Step("error"),
    Step("control"),
    Step("step", (2,)),
    Step("take", (0, 1)),
)
"""What short histories are made of."""

TIMES: Final = (Step("data", (0,)), Step("control"), Step("step", (2,)), Step("wait", (0.5,)), SETTLED)
"""What they are made of where time matters."""

LAST_WAITS: Final = 12
"""So often half a second passes at the end of a history of a throttle, until the last message has its token."""


@check("core", judges=[*ALL_KINDS, "NODE-602", "NODE-607"], target="node")
def node_small(exam: Examination) -> None:
    """Try all short histories of nodes that pass and that filter."""
    try_all(exam, PLAIN, OPS)


@check("core", judges=[*ALL_KINDS, "NODE-603", "NODE-607"], needs=["route"], target="node")
def node_route_small(exam: Examination) -> None:
    """Try all short histories of nodes that route."""
    try_all(exam, ROUTES, OPS)


@check("core", judges=[*ALL_KINDS, "NODE-604", "NODE-605"], needs=["batch"], target="node")
def node_batch_small(exam: Examination) -> None:
    """Try all short histories of batches."""
    try_all(exam, BATCHES[:2], OPS)
    try_all(exam, BATCHES[2:], TIMES)


@check("core", judges=[*ALL_KINDS, "NODE-610"], needs=["throttle"], target="node")
def node_throttle_small(exam: Examination) -> None:
    """Try all short histories of throttles."""
    try_all(exam, THROTTLES, TIMES)


def try_all(exam: Examination, specs: Sequence[NodeSpec], ops: Sequence[Step]) -> None:
    """Try all histories of some length; those of nodes with small edges with an output that is full before."""
    full = (Step("data", (0,)), Step("step", (2,))) * 3
    for spec in specs:
        small = spec.capacity <= FULL
        begins = full if small else ()
        for steps in product(ops, repeat=max(exam.effort.scope - 4, 2)):
            if exam.over:
                return
            try_history(exam, spec, [*begins, *steps, *ends(spec, at_rest=not small)])


def ends(spec: NodeSpec, *, at_rest: bool) -> list[Step]:
    """Return how histories of a node end: with all that it has to give, whether or not it is at rest when the end comes."""
    last = [*[SETTLED] * at_rest, Step("end"), SETTLED]
    return [*last, *[Step("wait", (0.5,)), SETTLED] * LAST_WAITS] if spec.kind == "throttle" else last


@check("core", judges=[*ALL_KINDS, "NODE-602", "NODE-607"], target="node")
def node_drawn(exam: Examination) -> None:
    """Play drawn histories on nodes that pass and that filter."""
    draw_some(exam, ("pass", "filter", "filter"))


@check("core", judges=[*ALL_KINDS, "NODE-603", "NODE-607"], needs=["route"], target="node")
def node_route_drawn(exam: Examination) -> None:
    """Play drawn histories on nodes that route."""
    draw_some(exam, ("route",))


@check("core", judges=[*ALL_KINDS, "NODE-604", "NODE-605"], needs=["batch"], target="node")
def node_batch_drawn(exam: Examination) -> None:
    """Play drawn histories on batches."""
    draw_some(exam, ("batch",))


@check("core", judges=[*ALL_KINDS, "NODE-610"], needs=["throttle"], target="node")
def node_throttle_drawn(exam: Examination) -> None:
    """Play drawn histories on throttles."""
    draw_some(exam, ("throttle",))


def draw_some(exam: Examination, kinds: Sequence[str]) -> None:
    """Play drawn histories: twice as many as the effort has examples."""
    draw = Random(exam.seed)
    for _ in range(exam.effort.examples * 2):
        if exam.over:
            return
        spec = draw_spec(draw, draw.choice(kinds))
        try_history(exam, spec, draw_history(draw, spec, exam.effort.steps))


def try_history(exam: Examination, spec: NodeSpec, steps: list[Step]) -> None:
    """Play a history, and note what it broke."""
    exam.runs += 1
    try:
        play(exam.backend, spec, steps)
    except Broken as found:
        exam.found(found.violations, spec, found.steps, "node", "node")


def draw_spec(draw: Random, kind: str) -> NodeSpec:
    """Draw a node of a kind."""
    drawn: dict[str, Any] = {
        "by": draw.choice(("field", "field", "type")),
        "on_error": draw.choice(("record", "emit")),
        "default": draw.random() < 0.5,
        "size": draw.randint(1, 5),
        "within_s": draw.choice((None, 0.5, 1.0, 2.0)),
        "rate": draw.choice((1.0, 2.0, 4.0)),
        "burst": draw.randint(1, 4),
    }
    return NodeSpec(kind, capacity=draw.randint(1, 9), **{name: drawn[name] for name in KINDS[kind]})


def draw_history(draw: Random, spec: NodeSpec, length: int) -> list[Step]:
    """Draw a history in which a node gives all that it has to."""
    steps: list[Step] = []
    ops = ["data", "data", "data", "step", "step", "step", "take", "error", "control", "wait", "settle"]
    for _ in range(draw.randint(3, length)):
        op = draw.choice(ops)
        if op == "data":
            steps.append(Step("data", tuple(draw.choice((0, 0, 1, 2, 3)) for _ in range(draw.randint(1, 5)))))
        elif op == "step":
            steps.append(Step("step", (draw.randint(1, 4),)))
        elif op == "take":
            steps.append(Step("take", (draw.randint(0, 1), draw.randint(1, 4))))
        elif op == "wait":
            steps.append(Step("wait", (draw.choice((0.5, 0.5, 1.0, 1.5)),)))
        else:
            steps.append(Step(op))
    return [*steps, *ends(spec, at_rest=draw.random() < 0.5)]


PLAYERS["node"] = player_from(replayed)
