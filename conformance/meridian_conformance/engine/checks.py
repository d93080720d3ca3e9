"""How engines are examined: characteristic graphs with all short histories, and drawn graphs with drawn ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import Capability
from meridian_conformance.engine.contract import LARGEST, Graph, Link, NodeSpec
from meridian_conformance.engine.session import least_budget, play, replayed
from meridian_conformance.failures import Step
from meridian_conformance.replay import PLAYERS, player_from
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence

JUDGED: Final = tuple(f"ENGINE-5{n:02}" for n in range(1, 12))
ASYNC: Final = tuple(f"ENGINE-5{n:02}" for n in range(12, 16))
LIMITS: Final = tuple(f"ENGINE-5{n:02}" for n in range(21, 25))

SOURCE: Final = NodeSpec("source", "pass", 7)
SINK: Final = NodeSpec("call", "sink")

GRAPHS: Final = {
    "pipeline": Graph((SOURCE, NodeSpec(), SINK), (Link(0, 1, 2), Link(1, 2, 1))),
    "functions": Graph(
        (SOURCE, NodeSpec("map"), NodeSpec("stream", "burst"), NodeSpec("map", "sink")),
        (Link(0, 1, 2), Link(1, 2, 2), Link(2, 3, 2)),
    ),
    "burst": Graph((SOURCE, NodeSpec("call", "burst"), SINK), (Link(0, 1, 2), Link(1, 2, 2))),
    "tight burst": Graph((SOURCE, NodeSpec("call", "burst"), SINK), (Link(0, 1, 1), Link(1, 2, 1))),
    "fan-out": Graph((SOURCE, SINK, SINK), (Link(0, 1, 1), Link(0, 2, 3))),
    "burst fan-out": Graph(
        (SOURCE, NodeSpec("call", "burst"), SINK, NodeSpec("map", "sink")),
        (Link(0, 1, 2), Link(1, 2, 1), Link(1, 3, 4)),
    ),
    "fan-in": Graph((SOURCE, SOURCE, SOURCE, SINK), (Link(0, 3, 2), Link(1, 3, 2), Link(2, 3, 2))),
    "deep fan-in": Graph((NodeSpec("source", "pass", 130), SOURCE, SINK), (Link(0, 2, 100), Link(1, 2, 2))),
    "failing": Graph((SOURCE, NodeSpec("map", "fail"), SINK), (Link(0, 1, 4), Link(1, 2, 2))),
    "failing call": Graph((SOURCE, NodeSpec("call", "fail"), SINK), (Link(0, 1, 4), Link(1, 2, 2))),
    "losing": Graph(
        (SOURCE, NodeSpec("call", "burst"), SINK, SINK, SINK),
        (Link(0, 1, 8), Link(1, 2, 1, "drop"), Link(1, 3, 2, "latest"), Link(1, 4, 1, "coalesce")),
    ),
    "busy": Graph((NodeSpec("source", "pass", 60), SINK), (Link(0, 1, 50),)),
}


WAITS: Final = NodeSpec("async")
POOL: Final = NodeSpec("async", "pass", concurrency=2)
LOOSE: Final = NodeSpec("async", "pass", concurrency=3, ordered=False)

ASYNC_GRAPHS: Final = {
    "async": Graph((SOURCE, WAITS, SINK), (Link(0, 1, 2), Link(1, 2, 1))),
    "async sink": Graph((SOURCE, NodeSpec("async", "sink", concurrency=2)), (Link(0, 1, 2),)),
    "async burst": Graph((SOURCE, NodeSpec("async", "burst"), SINK), (Link(0, 1, 2), Link(1, 2, 1))),
    "async fan-in": Graph((SOURCE, SOURCE, WAITS, SINK), (Link(0, 2, 2), Link(1, 2, 2), Link(2, 3, 2))),
    "async fan-out": Graph((SOURCE, POOL, SINK, WAITS), (Link(0, 1, 3), Link(1, 2, 2), Link(1, 3, 2))),
    "ordered": Graph(
        (SOURCE, NodeSpec("async", "fail", concurrency=3), SINK), (Link(0, 1, 4), Link(1, 2, 1))
    ),
    "unordered": Graph((SOURCE, LOOSE, SINK), (Link(0, 1, 4), Link(1, 2, 4))),
    "side by side": Graph((SOURCE, WAITS, SINK, SOURCE, SINK), (Link(0, 1, 1), Link(1, 2, 1), Link(3, 4, 2))),
}

LIMITED_GRAPHS: Final = {
    "bytes": Graph((SOURCE, NodeSpec(), SINK), (Link(0, 1, 4, max_bytes=5), Link(1, 2, 4, max_bytes=4))),
    "bytes fan-out": Graph((SOURCE, SINK, SINK), (Link(0, 1, 4, max_bytes=4), Link(0, 2, 4, max_bytes=7))),
    "losing bytes": Graph(
        (SOURCE, SINK, SINK, SINK),
        (Link(0, 1, 4, "drop", 6), Link(0, 2, 4, "latest", 6), Link(0, 3, 4, "coalesce", 6)),
    ),
    "ages": Graph(
        (NodeSpec("source", "pass", 2), NodeSpec("map"), SINK),
        (Link(0, 1, 2, max_age_s=1.0), Link(1, 2, 4, max_age_s=2.0)),
    ),
    "losing ages": Graph(
        (SOURCE, SINK, SINK),
        (Link(0, 1, 3, "latest", max_age_s=1.0), Link(0, 2, 9, "drop", 20, 2.0)),
    ),
    "budget": Graph(
        (SOURCE, NodeSpec(), NodeSpec("map"), SINK), (Link(0, 1, 9), Link(1, 2, 9), Link(2, 3, 9)), 12
    ),
    "budget fan-out": Graph(
        (SOURCE, NodeSpec("call", "burst"), SINK, SINK), (Link(0, 1, 9), Link(1, 2, 9), Link(1, 3, 9)), 16
    ),
    "budget fan-in": Graph(
        (SOURCE, SOURCE, NodeSpec(), SINK), (Link(0, 2, 9), Link(1, 2, 9), Link(2, 3, 9)), 8
    ),
}


@check("core", judges=JUDGED, target="engine")
def engine_small(exam: Examination) -> None:
    """Try all short histories on graphs that each show one thing."""
    for graph in GRAPHS.values():
        sink = len(graph.nodes) - 1
        last = len(graph.links) - 1
        ops = (
            Step("step", (2,)),
            Step("pause", (sink,)),
            Step("resume", (sink,)),
            Step("offer", (last,)),
            Step("control", (last,)),
            Step("control", (0,)),
        )
        try_all(exam, graph, ops, (Step("drain"), Step("resume", (sink,)), Step("drain")))


@check("core", judges=[*JUDGED, *ASYNC], needs=["async"], target="engine")
def engine_async_small(exam: Examination) -> None:
    """Try all short histories on graphs with asynchronous nodes: work ends in any order, fails, is cancelled."""
    for graph in ASYNC_GRAPHS.values():
        ops = (
            Step("step", (3,)),
            Step("finish", (0,)),
            Step("finish", (1,)),
            Step("fail", (0,)),
            Step("cancel", (1,)),
            Step("hurry", (2,)),
        )
        # The second drain lets all that is left end at once, if it can.
        ends = (Step("step", (9,)), Step("hurry", (3,)), Step("drain"))
        try_all(exam, graph, ops, ends, begins=(Step("step", (5,)),))


@check("core", judges=[*JUDGED, *LIMITS], needs=["limits"], target="engine")
def engine_limits_small(exam: Examination) -> None:
    """Try all short histories on graphs with limits by bytes and age, and with byte budgets."""
    for graph in LIMITED_GRAPHS.values():
        sink = len(graph.nodes) - 1
        last = len(graph.links) - 1
        ops = (
            Step("step", (2,)),
            Step("pause", (sink,)),
            Step("resume", (sink,)),
            Step("offer", (last,)),
            Step("offer", (0,)),
            Step("wait", (1.5,)),
        )
        ages = any(link.max_age_s is not None for link in graph.links)
        begins = (Step("pause", (sink,)), Step("step", (4,)), Step("wait", (1.5,))) if ages else ()
        try_all(exam, graph, ops, (Step("drain"), Step("resume", (sink,)), Step("drain")), begins)


def try_all(
    exam: Examination, graph: Graph, ops: Sequence[Step], ends: Sequence[Step], begins: Sequence[Step] = ()
) -> None:
    """Try all histories of some length."""
    for steps in product(ops, repeat=max(exam.effort.scope - 4, 2)):
        if exam.over:
            return
        try_history(exam, graph, [*begins, *steps, *ends])


@check("core", judges=JUDGED, target="engine")
def engine_drawn(exam: Examination) -> None:
    """Play drawn histories on drawn graphs."""
    draw_some(exam, 5, frozenset())


@check("core", judges=[*JUDGED, *ASYNC], needs=["async"], target="engine")
def engine_async_drawn(exam: Examination) -> None:
    """Play drawn histories on drawn graphs with asynchronous nodes."""
    draw_some(exam, 2, frozenset([Capability.ASYNC]))


@check("core", judges=[*JUDGED, *LIMITS], needs=["limits"], target="engine")
def engine_limits_drawn(exam: Examination) -> None:
    """Play drawn histories on drawn graphs with limits, and asynchronous nodes where they may have some."""
    draw_some(exam, 2, frozenset([Capability.LIMITS]) | exam.claims & {Capability.ASYNC})


def draw_some(exam: Examination, share: int, claims: frozenset[str]) -> None:
    """Play drawn histories: so many times as many as the effort has examples."""
    draw = Random(exam.seed)
    for _ in range(exam.effort.examples * share):
        if exam.over:
            return
        graph = draw_graph(draw, claims)
        try_history(exam, graph, draw_history(draw, graph, exam.effort.steps // 2))


def try_history(exam: Examination, graph: Graph, steps: list[Step]) -> None:
    """Play a history, and note what it broke."""
    exam.runs += 1
    try:
        play(exam.backend, graph, steps)
    except Broken as found:
        exam.found(found.violations, graph, found.steps, "engine", "engine")


def draw_graph(draw: Random, claims: frozenset[str] = frozenset()) -> Graph:
    """Draw a graph without cycles of two to six nodes, with what an engine with these capabilities can do.

    Half of them have no asynchronous nodes, and half have no limits: each of the two keeps plain nodes from crowding an edge.
    """
    claims = frozenset(each for each in sorted(claims) if draw.random() < 0.5)
    n = draw.randint(2, 6)
    sources = draw.randint(1, max(1, n // 2))
    nodes = [NodeSpec("source", "pass", draw.randint(0, 20)) for _ in range(sources)]
    links: list[Link] = []
    for node in range(sources, n):
        entering = sorted(draw.sample(range(node), draw.randint(1, min(3, node))))
        for source in entering:
            policy = draw.choice(("block", "block", "block", "drop", "latest", "coalesce"))
            links.append(Link(source, node, draw.randint(1, 5), policy))
        if Capability.ASYNC in claims and draw.random() < 0.5:
            nodes.append(_draw_async(draw, len(entering)))
            continue
        style = draw.choice(("call", "map", "stream") if len(entering) == 1 else ("call",))
        work = draw.choice(("pass", "pass", "fail") if style == "map" else ("pass", "burst", "fail"))
        nodes.append(NodeSpec(style, work))
    leaves = {link.source for link in links}
    for node in range(sources, n):
        if node not in leaves:
            style = nodes[node].style
            nodes[node] = replace(nodes[node], style="map" if style == "stream" else style, work="sink")
    graph = Graph(tuple(nodes), tuple(links))
    return _draw_limits(draw, graph) if Capability.LIMITS in claims else graph


def _draw_async(draw: Random, inputs: int) -> NodeSpec:
    work = draw.choice(("pass", "pass", "fail", "burst"))
    many = inputs == 1 and work != "burst" and draw.random() < 0.6
    return NodeSpec("async", work, concurrency=draw.randint(2, 4) if many else 1, ordered=draw.random() < 0.6)


def _draw_limits(draw: Random, graph: Graph) -> Graph:
    links = tuple(
        replace(
            link,
            max_bytes=draw.choice((None, draw.randint(LARGEST, 3 * LARGEST))),
            max_age_s=draw.choice((None, None, draw.randint(1, 3) * 1.0)),
        )
        for link in graph.links
    )
    enough = least_budget(graph)
    budget = draw.choice((None, enough, enough + draw.randint(1, 9), enough // graph.longest_way()))
    return replace(graph, links=links, budget=budget)


def draw_history(draw: Random, graph: Graph, length: int) -> list[Step]:
    """Draw a history that ends with a drained graph."""
    steps: list[Step] = []
    inner = [node for node, spec in enumerate(graph.nodes) if spec.style != "source"]
    ops = ["step", "step", "step", "offer", "control", "pause", "resume", "drain"]
    needs = graph.needs()
    if Capability.ASYNC in needs:
        ops += ["finish", "finish", "finish", "fail", "cancel", "hurry"]
    if Capability.LIMITS in needs:
        ops += ["wait", "step"]
    for _ in range(draw.randint(3, length)):
        op = draw.choice(ops)
        if op == "step":
            steps.append(Step("step", (draw.randint(1, 6),)))
        elif op in ("offer", "control"):
            steps.append(Step(op, (draw.randrange(len(graph.links)),)))
        elif op in ("finish", "fail", "cancel", "hurry"):
            steps.append(Step(op, (draw.randint(0, 3),)))
        elif op == "wait":
            steps.append(Step("wait", (draw.choice((0.5, 1.0, 2.5)),)))
        elif op == "drain":
            steps.append(Step("drain"))
        elif inner:
            steps.append(Step(op, (draw.choice(inner),)))
    paused = sorted({step.args[0] for step in steps if step.op == "pause"})
    return [*steps, *(Step("resume", (node,)) for node in paused), Step("drain")]


PLAYERS["engine"] = player_from(replayed)
