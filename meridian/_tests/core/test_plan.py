"""The plan: what is declared, flattened for one run."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import pytest

from meridian import Node, Subgraph
from meridian._tests.core.parts import Collect, Relay, chain, inputs, outputs
from meridian.runtime.plan import build_plan

pytestmark = pytest.mark.req("V1")


def order(*graphs):
    plan = build_plan(graphs)
    return [plan.nodes[i].name for i in plan.stop_order()]


def test_nodes_come_in_registration_order_and_edges_in_connect_order():
    one = chain(Relay("b"), Relay("a"))
    two = Subgraph.from_nodes("two", [Node("c")])
    plan = build_plan([one, two])
    assert [node.name for node in plan.nodes] == ["b", "a", "c"]
    assert [(each.id, each.source, each.target) for each in plan.edges] == [("b:out->a:in", 0, 1)]


@pytest.mark.req("V8")
@pytest.mark.v1("D25")
def test_the_stop_order_is_reverse_topological_however_nodes_were_registered():
    made = Subgraph.from_nodes(
        "g", [Collect("sink"), Relay("middle"), Node("source", outputs=outputs("out"))]
    )
    made.connect(("source", "out"), ("middle", "in"))
    made.connect(("middle", "out"), ("sink", "in"))
    assert order(made) == ["sink", "middle", "source"]


@pytest.mark.v1("D25")
def test_without_edges_it_is_the_reverse_of_the_start_order():
    assert order(Subgraph.from_nodes("g", [Node("a"), Node("b"), Node("c")])) == ["c", "b", "a"]


def test_a_cycle_is_broken_and_every_node_comes_once():
    made = Subgraph.from_nodes("g", [Relay("a"), Relay("b"), Relay("c")])
    for one, other in (("a", "b"), ("b", "a"), ("b", "c")):
        made.connect((one, "out"), (other, "in"))
    found = order(made)
    assert sorted(found) == ["a", "b", "c"]
    assert found.index("c") < found.index("b")


def test_a_diamond_stops_its_consumer_first_and_its_producer_last():
    made = Subgraph.from_nodes(
        "g", [Node("s", outputs=outputs("out")), Relay("l"), Relay("r"), Node("t", inputs("x", "y"))]
    )
    made.connect(("s", "out"), ("l", "in"))
    made.connect(("s", "out"), ("r", "in"))
    made.connect(("l", "out"), ("t", "x"))
    made.connect(("r", "out"), ("t", "y"))
    found = order(made)
    assert (found[0], found[-1]) == ("t", "s")


@pytest.mark.req("V14")
def test_a_byte_budget_is_shared_out_in_equal_steps_from_the_sources_to_the_sinks():
    made = chain(Relay("a"), Relay("b"), Relay("c"), Relay("d"))
    assert build_plan([made]).budget_shares() == [0, 0, 0]
    made.max_bytes = 10
    assert build_plan([made]).budget_shares() == [4, 7, 10]
