"""Whole graphs on a virtual clock, with seeded schedules and faults: both engines leave the same trace and the same report."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian._tests.engine.test_graphs import build, plans
from meridian._tests.parity.parts import ENGINES, POLICIES, outcome
from meridian.core.policies import Coalesce, Drop, Latest, Policy
from meridian.core.scheduler import SchedulerConfig
from meridian.testing import Fail, Fault, Full, Pause, Slow, simulate

MADE: dict[str, Policy | None] = {
    "block": None,
    "drop": Drop(),
    "latest": Latest(),
    "coalesce": Coalesce(lambda old, new: new),
    "half": POLICIES["half"](None),
    "raises": POLICIES["raises"](None),
}


@st.composite
def faults(draw: st.DrawFn) -> Any:
    """What goes wrong, by the number of a node or an edge."""
    kind = draw(st.sampled_from(["fail", "slow", "pause", "full"]))
    at = draw(st.integers(1, 9))
    return kind, draw(st.integers(0, 9)), at


def fault(drawn: tuple[str, int, int], nodes: list[str], edges: list[str]) -> Fault:
    kind, which, n = drawn
    name = nodes[which % len(nodes)]
    if kind == "fail":
        return Fail(name, at=(n,), every=n + 1)
    if kind == "slow":
        return Slow(name, 0.01 * n, every=2)
    if kind == "pause":
        return Pause(name, from_s=0.005 * n, for_s=0.1)
    return Full(edges[which % len(edges)], from_s=0.005 * n, for_s=0.1)


def played(
    name: str, plan: Any, policies: list[str], drawn: list[Any], seed: int, limits: Any
) -> dict[str, Any]:
    """Run the graph on one engine and return all that can be compared."""
    graph, got, _ = build(plan, [MADE[policy] for policy in policies])
    for edge in graph.edges:
        edge.max_bytes, edge.max_age_s = limits
        edge.size = lambda payload: 1 + payload % 3
    nodes, edges = list(graph.nodes), [edge.id for edge in graph.edges]
    plan_of_faults = [fault(each, nodes, edges) for each in drawn]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MERIDIAN_ENGINE", name)
        config = SchedulerConfig(max_batch_per_node=plan[4], shutdown_timeout_s=1.0)
        done = simulate(graph, seed=seed, config=config, faults=plan_of_faults, until_s=5.0)
    report = done.report.as_dict()
    assert report.pop("engine") == name
    report.pop("engine_reason")
    return {"got": got, "trace": [str(step) for step in done.trace], "hits": done.hits, "report": report}


@pytest.mark.req("N2.1")
@given(
    plans(),
    st.lists(st.sampled_from(sorted(MADE)), min_size=1, max_size=4),
    st.lists(faults(), max_size=2),
    st.integers(0, 1 << 16),
    st.tuples(st.none() | st.integers(1, 9), st.none() | st.sampled_from([0.01, 1.0])),
)
def test_two_runs_of_one_graph_do_the_same(plan, policies, drawn, seed, limits):
    python, rust = (outcome(played, name, plan, policies, drawn, seed, limits) for name in ENGINES)
    assert rust == python
