"""Section 7 of the v1 contract: declaring a graph."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import dataclasses

import pytest

from meridian import Edge, Node, Port, PortSpec, Subgraph, block, drop
from meridian._tests.core.parts import (
    IN,
    OUT,
    Burst,
    Collect,
    Relay,
    chain,
    edge,
    inputs,
    outputs,
    run,
    scheduler,
)
from meridian.core.policies import Block

pytestmark = pytest.mark.req("V1")


def pair(**ports):
    return Subgraph.from_nodes("g", [Node("a", outputs=outputs("out")), Node("b", inputs("in"))])


def codes(graph):
    return [(issue.level, issue.code) for issue in graph.validate()]


def test_fields_and_defaults():
    made = Subgraph("g")
    assert (made.name, made.nodes, made.edges, made.exposed_inputs, made.exposed_outputs) == (
        "g",
        {},
        [],
        {},
        {},
    )
    assert Subgraph("x").nodes is not Subgraph("y").nodes


@pytest.mark.v1("L17")
def test_given_containers_are_kept_and_may_go_on_changing():
    nodes, edges, ins, outs = {}, [], {}, {}
    made = Subgraph("g", nodes, edges, ins, outs)
    assert made.nodes is nodes
    assert made.edges is edges
    assert made.exposed_inputs is ins
    assert made.exposed_outputs is outs


def test_from_nodes_keeps_their_order_and_takes_any_iterable():
    made = Subgraph.from_nodes("g", (Node(name) for name in "cab"))
    assert made.node_names() == ["c", "a", "b"]
    assert type(made) is Subgraph


def test_a_subclass_calls_super_with_a_name():
    class Mine(Subgraph):
        def __init__(self):
            super().__init__(name="mine")
            self.add_node(Burst("b", [1]))
            self.out = Collect("c")
            self.add_node(self.out)
            self.connect(("b", "out"), ("c", "in"))

    made = Mine()
    run(made)
    assert made.out.got == [1]
    assert type(Mine.from_nodes.__func__(Subgraph, "g", [])) is Subgraph


def test_a_dataclass_may_derive_from_it():
    @dataclasses.dataclass
    class Mine(Subgraph):
        owner: str = "me"

    made = Mine("g")
    made.add_node(Burst("b", [1]))
    out = Collect("c")
    made.add_node(out)
    made.connect(("b", "out"), ("c", "in"))
    assert made.owner == "me"
    assert made.validate() == []
    run(made)
    assert out.got == [1]


@pytest.mark.v1("D35")
def test_equality_and_hash_are_by_identity():
    one, other = Subgraph("g"), Subgraph("g")
    assert one != other
    assert len({one, other, one}) == 2


# ---- connect --------------------------------------------------------------------------------------------------


def test_connect_returns_the_edges_id_and_appends_the_edge():
    made = Subgraph.from_nodes("g", [Node("a", outputs=outputs("out")), Node("b", inputs("in", schema=int))])
    policy = drop()
    assert made.connect(("a", "out"), ("b", "in"), 7, policy) == "a:out->b:in"
    (only,) = made.edges
    assert isinstance(only, Edge)
    assert (only.capacity, only.default_policy, only.spec) == (7, policy, PortSpec("in", int))
    assert (only.source_node, only.target_node) == ("a", "b")
    assert (only.source_port, only.target_port) == (made.nodes["a"].outputs[0], made.nodes["b"].inputs[0])


def test_connect_has_v1s_defaults():
    made = pair()
    made.connect(src=("a", "out"), dst=("b", "in"))
    assert (made.edges[0].capacity, made.edges[0].default_policy) == (1024, None)


@pytest.mark.parametrize("capacity", [0, -1])
def test_connect_refuses_a_capacity_before_anything_else(capacity):
    with pytest.raises(ValueError, match="capacity"):
        Subgraph("g").connect(("no", "no"), ("no", "no"), capacity)


@pytest.mark.parametrize(("src", "dst"), [(("x", "out"), ("b", "in")), (("a", "out"), ("x", "in"))])
def test_connect_to_an_unknown_node_is_a_key_error_that_names_the_known_ones(src, dst):
    with pytest.raises(KeyError) as caught:
        pair().connect(src, dst)
    assert "'x'" in str(caught.value)
    assert "'a', 'b'" in str(caught.value)


@pytest.mark.v1("D29")
@pytest.mark.parametrize(
    ("src", "dst", "there"), [(("a", "x"), ("b", "in"), "'out'"), (("a", "out"), ("b", "x"), "'in'")]
)
def test_connect_to_an_unknown_port_is_a_key_error_that_names_the_real_ones(src, dst, there):
    made = pair()
    with pytest.raises(KeyError) as caught:
        made.connect(src, dst)
    assert there in str(caught.value)
    assert made.edges == []


def test_a_second_edge_with_the_same_id_is_accepted_here_and_reported_by_validate():
    made = pair()
    assert made.connect(("a", "out"), ("b", "in")) == made.connect(("a", "out"), ("b", "in"))
    assert codes(made) == [("error", "DUP_EDGE")]


@pytest.mark.req("V3")
@pytest.mark.v1("D5")
def test_an_edge_connected_without_policy_blocks():
    out = Collect("c")
    made = run(chain(Burst("b", range(20)), out, capacity=5))
    assert out.got == list(range(20))
    assert made.report().edges[0].policy == "block"
    assert isinstance(block(), Block)


@pytest.mark.req("V5")
@pytest.mark.v1("D4")
def test_inputs_of_gives_the_last_edge_of_each_port_and_edges_into_gives_all():
    made = Subgraph.from_nodes(
        "g",
        [
            Node("a", outputs=outputs("out")),
            Node("b", outputs=outputs("out")),
            Node("c", inputs("x", "y", "z")),
        ],
    )
    for source, port in (("a", "x"), ("b", "x"), ("a", "y")):
        made.connect((source, "out"), ("c", port))
    one, two, three = made.edges
    assert made.inputs_of("c") == {"x": two, "y": three}
    assert made.inputs_of("a") == made.inputs_of("nobody") == {}
    assert made.edges_into("c") == [one, two, three]
    assert made.edges_into("c", "x") == [one, two]


@pytest.mark.req("V5")
@pytest.mark.v1("D4")
def test_several_edges_into_one_input_are_all_served():
    out = Collect("c")
    made = Subgraph.from_nodes("g", [Burst("a", range(50)), Burst("b", range(100, 150)), out])
    made.connect(("a", "out"), ("c", "in"), 4)
    made.connect(("b", "out"), ("c", "in"), 4)
    run(made)
    assert [n for n in out.got if n < 100] == list(range(50))
    assert [n for n in out.got if n >= 100] == list(range(100, 150))


@pytest.mark.req("V5")
def test_several_edges_out_of_one_output_all_get_every_message():
    one, two = Collect("one"), Collect("two")
    made = Subgraph.from_nodes("g", [Burst("b", range(20)), one, two])
    made.connect(("b", "out"), ("one", "in"), 2)
    made.connect(("b", "out"), ("two", "in"), 16)
    run(made)
    assert one.got == two.got == list(range(20))


# ---- nodes by name --------------------------------------------------------------------------------------------


@pytest.mark.v1("D31")
def test_an_alias_is_the_nodes_name_for_wiring_routing_and_reports():
    source, out = Burst("b", [1, 2]), Collect("c")
    made = Subgraph("g")
    made.add_node(source, name="producer")
    made.add_node(out, "consumer")
    assert list(made.nodes) == ["producer", "consumer"]
    assert made.nodes["producer"] is source
    assert made.connect(("producer", "out"), ("consumer", "in")) == "producer:out->consumer:in"
    assert made.validate() == []
    ran = run(made)
    assert out.got == [1, 2]
    assert [node.name for node in ran.report().nodes] == ["producer", "consumer"]


@pytest.mark.v1("D31")
def test_two_nodes_of_one_name_live_together_under_aliases():
    first, second, out = Burst("b", [1]), Burst("b", [2]), Collect("c")
    made = Subgraph("g")
    made.add_node(first, "x")
    made.add_node(second, "y")
    made.add_node(out)
    made.connect(("x", "out"), ("c", "in"))
    made.connect(("y", "out"), ("c", "in"))
    assert made.validate() == []
    run(made)
    assert sorted(out.got) == [1, 2]


@pytest.mark.v1("D30")
def test_two_nodes_of_one_name_are_reported():
    assert codes(Subgraph.from_nodes("g", [Node("a"), Node("a")])) == [("error", "DUP_NODE")]
    made = Subgraph("g")
    made.add_node(Node("a"))
    made.add_node(Node("a"))
    assert codes(made) == [("error", "DUP_NODE")]


@pytest.mark.v1("L10", "D30")
def test_a_run_refuses_two_nodes_of_one_name_and_starts_nothing():
    started = []

    class Says(Node):
        def on_start(self):
            started.append(self.name)

    made = scheduler(Subgraph.from_nodes("g", [Says("a"), Says("a")]))
    with pytest.raises(ValueError, match="DUP_NODE"):
        made.run()
    two = scheduler(Subgraph.from_nodes("g", [Says("a")]), Subgraph.from_nodes("h", [Says("a")]))
    with pytest.raises(ValueError, match="DUP_NODE"):
        two.run()
    twice = Subgraph.from_nodes("g", [Says("a")])
    with pytest.raises(ValueError, match="DUP_NODE"):
        scheduler(twice, twice).run()
    assert started == []


@pytest.mark.v1("L17")
def test_edges_and_nodes_may_be_changed_by_hand_until_a_run():
    out = Collect("c")
    made = chain(Burst("b", [1]), out)
    made.edges = []
    made.edges.append(Edge("b", Port("out", OUT), "c", Port("in", IN), 8))
    assert made.edges[-1].try_put("by hand") is not None
    assert made.nodes["c"] is out
    run(made)
    assert out.got == ["by hand", 1]


# ---- exposing and nesting -------------------------------------------------------------------------------------


def test_exposing_a_name_twice_is_a_value_error():
    made = pair()
    made.expose_input("i", ("b", "in"))
    made.expose_output("o", ("a", "out"))
    assert made.exposed_inputs == {"i": ("b", "in")}
    assert made.exposed_outputs == {"o": ("a", "out")}
    with pytest.raises(ValueError, match="'i'"):
        made.expose_input("i", ("b", "in"))
    with pytest.raises(ValueError, match="'o'"):
        made.expose_output("o", ("a", "out"))


def test_what_is_exposed_is_checked_by_validate_only():
    made = pair()
    made.expose_input("i", ("nobody", "in"))
    made.expose_input("j", ("b", "nothing"))
    made.expose_output("o", ("nobody", "out"))
    made.expose_output("p", ("a", "nothing"))
    assert codes(made) == [("error", "BAD_EXPOSE_IN")] * 2 + [("error", "BAD_EXPOSE_OUT")] * 2


def doubler(name="doubler"):
    made = chain(Relay("first"), Relay("second"), name=name)
    made.expose_input("in", ("first", "in"))
    made.expose_output("out", ("second", "out"))
    return made


@pytest.mark.req("V10")
@pytest.mark.v1("D32")
def test_a_graph_nests_in_a_graph_and_is_wired_by_its_exposed_ports():
    out = Collect("c")
    made = Subgraph("outer")
    made.add_node(Burst("b", range(5)))
    made.add_node(doubler())
    made.add_node(out)
    made.connect(("b", "out"), ("doubler", "in"), 2)
    made.connect(("doubler", "out"), ("c", "in"), 2)
    assert made.validate() == []
    ran = run(made)
    assert out.got == list(range(5))
    assert [node.name for node in ran.report().nodes] == ["b", "doubler/first", "doubler/second", "c"]
    assert [each.id for each in ran.report().edges] == [
        "doubler/first:out->doubler/second:in",
        "b:out->doubler/first:in",
        "doubler/second:out->c:in",
    ]


@pytest.mark.req("V10")
@pytest.mark.v1("D32")
def test_nesting_goes_several_levels_deep_and_the_same_inner_names_dont_clash():
    out = Collect("c")
    middle = Subgraph("middle")
    middle.add_node(doubler("one"))
    middle.add_node(doubler("two"))
    middle.connect(("one", "out"), ("two", "in"))
    middle.expose_input("in", ("one", "in"))
    middle.expose_output("out", ("two", "out"))
    made = Subgraph("outer")
    for each in (Burst("b", [1, 2, 3]), middle, out):
        made.add_node(each)
    made.connect(("b", "out"), ("middle", "in"))
    made.connect(("middle", "out"), ("c", "in"))
    assert made.validate() == []
    ran = run(made)
    assert out.got == [1, 2, 3]
    assert "middle/two/second" in [node.name for node in ran.report().nodes]


@pytest.mark.req("V10")
@pytest.mark.v1("D32")
def test_an_exposed_input_carries_the_inner_schema():
    inner = Subgraph.from_nodes("inner", [Collect("c", schema=int)])
    inner.expose_input("in", ("c", "in"))
    made = Subgraph("outer")
    made.add_node(Node("a", outputs=outputs("out", schema=str)))
    made.add_node(inner)
    made.connect(("a", "out"), ("inner", "in"))
    assert codes(made) == [("error", "SCHEMA_MISMATCH")]
    assert made.edges[0].spec.schema is int


@pytest.mark.req("V10")
def test_issues_of_nested_graphs_are_reported_with_their_place():
    inner = Subgraph("inner")
    inner.edges.append(edge(0))
    made = Subgraph("outer")
    made.add_node(inner)
    issues = made.validate()
    assert {issue.code for issue in issues} == {"BAD_CAP", "UNKNOWN_NODE"}
    assert all("inner/" in issue.message for issue in issues)


def test_a_graph_added_under_an_alias_is_known_by_it():
    out = Collect("c")
    made = Subgraph("outer")
    made.add_node(Burst("b", [1]))
    made.add_node(doubler(), name="stage")
    made.add_node(out)
    made.connect(("b", "out"), ("stage", "in"))
    made.connect(("stage", "out"), ("c", "in"))
    ran = run(made)
    assert out.got == [1]
    assert "stage/first" in [node.name for node in ran.report().nodes]


def test_what_is_neither_node_nor_graph_is_refused():
    with pytest.raises(TypeError, match="int"):
        Subgraph("g").add_node(5)
    with pytest.raises(TypeError, match="int"):
        scheduler().register(5)


def test_its_repr_counts():
    assert repr(pair()) == "<Subgraph 'g': 2 nodes, 0 edges>"
