"""Section 7 of the v1 contract: what `Subgraph.validate` finds, and that a run refuses what it finds."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

from typing import Any

import pytest

from meridian import Edge, Node, Port, PortSpec, Subgraph
from meridian._tests.core.parts import IN, OUT, Burst, Collect, Relay, chain, inputs, outputs, run, scheduler
from meridian.core.errors import GraphError
from meridian.core.subgraph import ValidationIssue

pytestmark = pytest.mark.req("V1", "V10")


def codes(graph):
    return [issue.code for issue in graph.validate()]


def between(source: Any, target: Any, *, capacity: int = 4) -> Subgraph:
    """Two nodes, joined by hand, with these schemas."""
    made = Subgraph.from_nodes(
        "g", [Node("a", outputs=outputs("out", schema=source)), Node("b", inputs("in", schema=target))]
    )
    made.edges.append(
        Edge(
            "a", made.nodes["a"].outputs[0], "b", made.nodes["b"].inputs[0], capacity, PortSpec("in", target)
        )
    )
    return made


def test_an_issue_is_a_tuple_of_level_code_and_message():
    issue = ValidationIssue("error", "CODE", "text")
    assert issue == ("error", "CODE", "text")
    assert (issue.level, issue.code, issue.message) == ("error", "CODE", "text")


def test_a_valid_graph_has_none():
    assert Subgraph("empty").validate() == []
    assert chain(Burst("b", []), Relay("r"), Collect("c")).validate() == []
    assert (
        Subgraph.from_nodes("loose", [Node("a", outputs=outputs("out")), Node("b", inputs("in"))]).validate()
        == []
    )
    assert Subgraph.from_nodes("bare", [Node("a"), Node("b")]).validate() == []


def test_an_unknown_node_is_reported_and_its_ports_are_not():
    made = Subgraph.from_nodes("g", [Node("a", outputs=outputs("out"))])
    made.edges.append(Edge("a", Port("out", OUT), "x", Port("in", IN), 1))
    (issue,) = made.validate()
    assert (issue.level, issue.code) == ("error", "UNKNOWN_NODE")
    assert "'x'" in issue.message


def test_a_bad_capacity_is_reported_even_beside_an_unknown_node():
    made = Subgraph("g")
    made.edges.append(Edge("x", Port("out", OUT), "y", Port("in", IN), 0))
    assert sorted(codes(made)) == ["BAD_CAP", "UNKNOWN_NODE", "UNKNOWN_NODE"]


@pytest.mark.v1("L18")
@pytest.mark.parametrize("capacity", [0, -3])
def test_a_bad_capacity_is_reported(capacity):
    assert codes(between(None, None, capacity=capacity)) == ["BAD_CAP"]


def test_missing_ports_are_reported_with_those_that_exist():
    made = chain(Burst("a", []), Collect("b"))
    made.nodes["a"].outputs[:] = outputs("other")
    made.nodes["b"].inputs = inputs("another")
    first, second = made.validate()
    assert (first.code, second.code) == ("NO_SRC_PORT", "NO_DST_PORT")
    assert "'other'" in first.message
    assert "'another'" in second.message


def test_a_duplicate_edge_is_reported():
    made = chain(Burst("a", []), Collect("b"))
    made.edges.append(made.edges[0])
    assert codes(made) == ["DUP_EDGE"]


def test_everything_is_reported_at_once():
    made = between(str, int, capacity=0)
    made.edges.append(Edge("a", Port("out", OUT), "x", Port("in", IN), 1))
    made.expose_input("i", ("b", "nothing"))
    assert sorted(codes(made)) == ["BAD_CAP", "BAD_EXPOSE_IN", "SCHEMA_MISMATCH", "UNKNOWN_NODE"]


@pytest.mark.v1("D32")
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (int, int),
        (bool, int),
        (None, int),
        (int, None),
        (Any, int),
        (int, int | str),
        (int, (int, str)),
        (list[int], list),
        (list[int], list[int]),
        (dict[str, int], dict[str, Any]),
        (int, object),
    ],
)
def test_schemas_that_fit_are_no_issue(source, target):
    assert between(source, target).validate() == []


@pytest.mark.v1("D32")
@pytest.mark.parametrize(
    ("source", "target"),
    [(str, int), (int, str), (int | str, int), (list[str], list[int]), (dict, list), ((int, str), str)],
)
def test_schemas_that_dont_fit_are_reported(source, target):
    (issue,) = between(source, target).validate()
    assert (issue.level, issue.code) == ("error", "SCHEMA_MISMATCH")
    assert "a:out->b:in" in issue.message


@pytest.mark.v1("D33")
@pytest.mark.parametrize("meaningless", ["int", 5, (), [int, 5], {"a": int}])
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_meaningless_schema_is_reported_not_raised(meaningless, end):
    made = between(meaningless, None) if end == "source" else between(None, meaningless)
    (issue,) = made.validate()
    assert (issue.level, issue.code) == ("error", "BAD_SCHEMA")
    with pytest.raises(ValueError, match="BAD_SCHEMA"):
        run(made)


def test_a_cycle_is_a_warning_with_its_path_and_runs():
    one, two = Relay("one"), Relay("two")
    made = Subgraph.from_nodes("g", [Burst("b", []), one, two])
    made.connect(("b", "out"), ("one", "in"))
    made.connect(("one", "out"), ("two", "in"))
    made.connect(("two", "out"), ("one", "in"))
    (issue,) = made.validate()
    assert (issue.level, issue.code) == ("warning", "CYCLE")
    assert "one -> two -> one" in issue.message
    assert run(made).report().status == "stopped"


def test_a_loop_of_one_node_is_a_cycle_too():
    made = Subgraph.from_nodes("g", [Relay("r")])
    made.connect(("r", "out"), ("r", "in"))
    assert codes(made) == ["CYCLE"]


@pytest.mark.v1("D32")
def test_a_run_refuses_an_invalid_graph_and_lists_every_issue():
    made = between(str, int, capacity=0)
    made.edges.append(Edge("a", Port("out", OUT), "x", Port("in", IN), 1))
    with pytest.raises(GraphError) as caught:
        run(made)
    assert isinstance(caught.value, ValueError)
    assert sorted(issue.code for issue in caught.value.issues) == [
        "BAD_CAP",
        "SCHEMA_MISMATCH",
        "UNKNOWN_NODE",
    ]
    assert all(code in str(caught.value) for code in ("BAD_CAP", "SCHEMA_MISMATCH", "UNKNOWN_NODE"))


@pytest.mark.v1("D32")
def test_warnings_are_logged_and_dont_stop_a_run(records):
    made = Subgraph.from_nodes("g", [Relay("r")])
    made.connect(("r", "out"), ("r", "in"))
    run(made)
    assert [record["code"] for record in records() if record["event"] == "graph.issue"] == ["CYCLE"]


def test_a_refused_run_can_be_repeated_after_the_graph_was_mended():
    source, out = Burst("a", [1]), Collect("b")
    made = chain(source, out)
    made.edges[0].capacity = 0
    runner = scheduler(made)
    with pytest.raises(ValueError, match="BAD_CAP"):
        runner.run()
    assert runner.is_running() is False
    made.edges[0].capacity = 1
    runner.run()
    assert out.got == [1]


def test_a_deep_chain_is_validated_without_recursion():
    nodes = [Relay(f"n{i}") for i in range(3000)]
    assert chain(*nodes).validate() == []
