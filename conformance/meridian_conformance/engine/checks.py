"""How engines are examined: characteristic graphs with all short histories, and drawn graphs with drawn ones."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.engine.contract import Graph, Link, NodeSpec
from meridian_conformance.engine.session import play, replayed
from meridian_conformance.failures import Step
from meridian_conformance.replay import PLAYERS, player_from
from meridian_conformance.session import Broken

JUDGED: Final = tuple(f"ENGINE-5{n:02}" for n in range(1, 12))

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
        for steps in product(ops, repeat=max(exam.effort.scope - 4, 2)):
            if exam.over:
                return
            try_history(exam, graph, [*steps, Step("drain"), Step("resume", (sink,)), Step("drain")])


@check("core", judges=JUDGED, target="engine")
def engine_drawn(exam: Examination) -> None:
    """Play drawn histories on drawn graphs."""
    draw = Random(exam.seed)
    for _ in range(exam.effort.examples * 5):
        if exam.over:
            return
        graph = draw_graph(draw)
        try_history(exam, graph, draw_history(draw, graph, exam.effort.steps // 2))


def try_history(exam: Examination, graph: Graph, steps: list[Step]) -> None:
    """Play a history, and note what it broke."""
    exam.runs += 1
    try:
        play(exam.backend, graph, steps)
    except Broken as found:
        exam.found(found.violations, graph, found.steps, "engine", "engine")


def draw_graph(draw: Random) -> Graph:
    """Draw a graph without cycles of two to six nodes."""
    n = draw.randint(2, 6)
    sources = draw.randint(1, max(1, n // 2))
    nodes = [NodeSpec("source", "pass", draw.randint(0, 20)) for _ in range(sources)]
    links: list[Link] = []
    for node in range(sources, n):
        entering = sorted(draw.sample(range(node), draw.randint(1, min(3, node))))
        for source in entering:
            policy = draw.choice(("block", "block", "block", "drop", "latest", "coalesce"))
            links.append(Link(source, node, draw.randint(1, 5), policy))
        style = draw.choice(("call", "map", "stream") if len(entering) == 1 else ("call",))
        work = draw.choice(("pass", "pass", "fail") if style == "map" else ("pass", "burst", "fail"))
        nodes.append(NodeSpec(style, work))
    leaves = {link.source for link in links}
    for node in range(sources, n):
        if node not in leaves:
            style = nodes[node].style
            nodes[node] = NodeSpec("map" if style == "stream" else style, "sink")
    return Graph(tuple(nodes), tuple(links))


def draw_history(draw: Random, graph: Graph, length: int) -> list[Step]:
    """Draw a history that ends with a drained graph."""
    steps: list[Step] = []
    inner = [node for node, spec in enumerate(graph.nodes) if spec.style != "source"]
    for _ in range(draw.randint(3, length)):
        op: Any = draw.choice(("step", "step", "step", "offer", "control", "pause", "resume", "drain"))
        if op == "step":
            steps.append(Step("step", (draw.randint(1, 6),)))
        elif op in ("offer", "control"):
            steps.append(Step(op, (draw.randrange(len(graph.links)),)))
        elif op == "drain":
            steps.append(Step("drain"))
        elif inner:
            steps.append(Step(op, (draw.choice(inner),)))
    paused = sorted({step.args[0] for step in steps if step.op == "pause"})
    return [*steps, *(Step("resume", (node,)) for node in paused), Step("drain")]


PLAYERS["engine"] = player_from(replayed)
