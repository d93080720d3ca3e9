"""Whole graphs, drawn at random: what comes out is what an oracle of a few lines says, and the books balance."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.core.function import node, sink, source
from meridian.core.message import DATA, Message
from meridian.core.node import Node
from meridian.core.policies import Coalesce, Drop, Latest
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph


class Emitter(Node):
    """Emits every payload as often as its path says on each of its ports."""

    def __init__(self, name: str, ports: int, times: int) -> None:
        made = Node.with_ports(name, ["input"], [f"out{i}" for i in range(ports)])
        super().__init__(name, made.inputs, made.outputs)
        self.times = times

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        for i, out in enumerate(self.outputs):
            for _ in range((self.times + i) % 3):
                self.emit(out.name, Message(DATA, msg.payload))


class AsyncEmitter(Emitter):
    async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
        for i, out in enumerate(self.outputs):
            for _ in range((self.times + i) % 3):
                await asyncio.sleep(0)
                await self.send(out.name, Message(DATA, msg.payload))


def made(kind: str, name: str, times: int) -> tuple[Any, dict[str, int]]:
    """Return a node and how many results each of its ports gets for one message."""
    if kind == "emitter":
        return Emitter(name, 2, times), {"out0": times % 3, "out1": (times + 1) % 3}
    if kind == "async emitter":
        return AsyncEmitter(name, 2, times), {"out0": times % 3, "out1": (times + 1) % 3}
    if kind == "typed":

        def typed(x: int) -> int:
            return x

        return node(name=name)(typed).node(), {"output": 1}
    if kind == "untyped":
        return node(name=name)(lambda x: x).node(), {"output": 1}
    if kind == "generator":

        def generator(x):
            for _ in range(times):
                yield x

        return node(name=name)(generator).node(), {"output": times}
    if kind == "emit":

        def emits(x, emit):
            for _ in range(times):
                emit(x)

        return node(name=name)(emits).node(), {"output": times}
    if kind == "async":

        async def plain(x: int) -> int:
            if x % 3 == times:
                await asyncio.sleep(0)
            return x

        return node(name=name)(plain).node(), {"output": 1}
    if kind == "pool":

        async def pooled(x):
            for _ in range(x % 4):
                await asyncio.sleep(0)
            return x

        return node(name=name, concurrency=3)(pooled).node(), {"output": 1}

    async def stream(x):
        for _ in range(times):
            if x % 2:
                await asyncio.sleep(0)
            yield x

    return node(name=name)(stream).node(), {"output": times}


KINDS = ["emitter", "async emitter", "typed", "untyped", "generator", "emit", "async", "pool", "stream"]


@st.composite
def plans(draw: st.DrawFn) -> Any:
    """A DAG: nodes in order, each fed by one or two outputs of earlier ones; all loose ends go to sinks."""
    inner = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2)), min_size=1, max_size=5))
    feeds = [
        draw(st.lists(st.tuples(st.integers(0, i), st.integers(0, 1)), min_size=1, max_size=2, unique=True))
        for i in range(len(inner))
    ]
    n = draw(st.integers(0, 40))
    capacities = draw(st.lists(st.sampled_from([1, 1, 2, 3, 7, 64]), min_size=1, max_size=6))
    batch = draw(st.sampled_from([1, 2, 5, 64]))
    return inner, feeds, n, capacities, batch, draw(st.none() | st.integers(0, 1 << 32)), draw(st.booleans())


def run(graph: Subgraph, batch: int, seed: int | None) -> Any:
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=batch, shutdown_timeout_s=20))
    scheduler._shuffle = None if seed is None else Random(seed)
    scheduler.register(graph)
    scheduler.run()
    report = scheduler.report()
    for edge in report.edges:
        assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values())
    return report


def build(plan: Any, policies: list[Any]) -> tuple[Subgraph, dict[str, list[int]], dict[str, Counter[int]]]:
    inner, feeds, n, capacities, _, _, async_source = plan

    async def feed():
        for i in range(n):
            if i % 5 == 0:
                await asyncio.sleep(0)
            yield i

    graph = Subgraph("g")
    first = source(feed if async_source else range(n), name="source")
    graph.add_node(first)
    outputs: list[list[tuple[str, str]]] = [[("source", "output")]]
    counts: dict[tuple[str, str], Counter[int]] = {("source", "output"): Counter(range(n))}
    used: set[tuple[str, str]] = set()
    edges = 0

    def connect(end: tuple[str, str], target: tuple[str, str]) -> None:
        nonlocal edges
        graph.connect(end, target, capacities[edges % len(capacities)], policies[edges % len(policies)])
        edges += 1
        used.add(end)

    for i, ((kind, times), ends) in enumerate(zip(inner, feeds, strict=True)):
        name = f"n{i}"
        each, results = made(kind, name, times)
        graph.add_node(each)
        arriving: Counter[int] = Counter()
        for end in dict.fromkeys(outputs[index][port % len(outputs[index])] for index, port in ends):
            connect(end, (name, "input"))
            arriving += counts[end]
        outputs.append([(name, port) for port in results])
        for port, times_each in results.items():
            counts[name, port] = Counter({x: c * times_each for x, c in arriving.items() if c * times_each})
    got: dict[str, list[int]] = {}
    wanted: dict[str, Counter[int]] = {}
    for end, count in counts.items():
        name = f"sink of {end[0]} {end[1]}"
        got[name] = []
        wanted[name] = count
        graph.add_node(sink(got[name].append, name=name))
        connect(end, (name, "input"))
    return graph, got, wanted


@pytest.mark.req("V3", "V4", "V5", "V8")
@given(plans())
def test_on_blocking_edges_nothing_is_lost_or_doubled(plan):
    graph, got, wanted = build(plan, [None])
    report = run(graph, plan[4], plan[5])
    assert {name: Counter(items) for name, items in got.items()} == wanted
    assert (report.reason, report.errors, report.left) == ("finished", [], {})
    assert all(edge.lost == {} and edge.delivered == edge.accepted for edge in report.edges)


@pytest.mark.req("V7")
@given(plans())
def test_where_one_producer_feeds_one_path_the_order_stays(plan):
    inner, _, *rest = plan
    chain = (list(inner), [[(i, 0)] for i in range(len(inner))], *rest)
    graph, got, _ = build(chain, [None])
    run(graph, plan[4], plan[5])
    for items in got.values():
        assert items == sorted(items)


@pytest.mark.req("V3", "V14")
@given(plans(), st.lists(st.sampled_from(["block", "drop", "latest", "coalesce"]), min_size=1, max_size=4))
def test_on_edges_that_may_lose_what_arrives_is_accounted_for(plan, names):
    policies = {"block": None, "drop": Drop(), "latest": Latest(), "coalesce": Coalesce(lambda old, new: new)}
    graph, got, wanted = build(plan, [policies[name] for name in names])
    report = run(graph, plan[4], plan[5])
    for name, items in got.items():
        assert not Counter(items) - wanted[name]
    delivered = {edge.id: edge.delivered for edge in report.edges}
    for edge in graph.edges:
        if edge.target_node in got:
            assert delivered[edge.id] == len(got[edge.target_node])
        if isinstance(edge.default_policy, (Drop, Latest, Coalesce)):
            continue
        assert next(each for each in report.edges if each.id == edge.id).lost == {}
    assert (report.reason, report.errors, report.left) == ("finished", [], {})


@pytest.mark.req("V14")
@given(plans(), st.integers(1, 30))
def test_byte_limits_lose_nothing_on_blocking_edges(plan, per_edge):
    graph, got, wanted = build(plan, [None])
    graph.max_bytes = 100_000
    for edge in graph.edges:
        edge.max_bytes = per_edge
        edge.size = lambda payload: 1
    report = run(graph, plan[4], plan[5])
    assert {name: Counter(items) for name, items in got.items()} == wanted
    assert (report.reason, report.left) == ("finished", {})


@pytest.mark.req("V3")
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 6),
    st.sampled_from([1, 3, 64]),
    st.integers(0, 99),
)
def test_tokens_on_a_cycle_go_round_as_long_as_one_place_is_free(capacities, tokens, batch, seed):
    rounds = 30
    tokens = min(tokens, sum(capacities) - 1) or (1 if sum(capacities) > 1 or len(capacities) == 1 else 0)
    passed = [0] * len(capacities)
    graph = Subgraph("ring")

    def step(i):
        def pass_on(x):
            passed[i] += 1
            return x - 1 if x else None

        return pass_on

    for i in range(len(capacities)):
        graph.add_node(node(name=f"n{i}")(step(i)))
    for i, capacity in enumerate(capacities):
        graph.connect((f"n{i}", "output"), (f"n{(i + 1) % len(capacities)}", "input"), capacity)
    left = tokens
    for edge in graph.edges:
        for _ in range(min(left, edge.capacity)):
            edge.try_put(rounds)
            left -= 1
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=batch, shutdown_timeout_s=0.0))
    scheduler._shuffle = Random(seed)
    scheduler.register(graph)
    scheduler.run()
    assert (sum(passed), scheduler.report().left) == (tokens * (rounds + 1), {})
