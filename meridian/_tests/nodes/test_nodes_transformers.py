"""MapTransformer, FilterTransformer and FlatMapTransformer: section 12.4 of v1's contract."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, Node, graph, sink, source, via
from meridian._tests.nodes.parts import payloads
from meridian.core.message import CONTROL, DATA, ERROR
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import ErrorPolicy, NodeConfig, setup_standard_ports
from meridian.nodes.transformers import FilterTransformer, FlatMapTransformer, MapTransformer
from meridian.redaction import expose
from meridian.testing import simulate

pytestmark = pytest.mark.req("V11")

ALL = pytest.mark.parametrize("transformer", [MapTransformer, FilterTransformer, FlatMapTransformer])
IDENTITY = {MapTransformer: lambda x: x, FilterTransformer: lambda x: True, FlatMapTransformer: lambda x: [x]}
RAISING, EMITTING = (NodeConfig(policy) for policy in (ErrorPolicy.RAISE_EXCEPTION, ErrorPolicy.EMIT_ERROR))


def fails(x: Any) -> Any:
    if x == "secret":
        raise KeyError(x)
    return [x]


def sent(node: Node, *payloads: Any, port: str = "input") -> NodeTestHarness:
    harness = NodeTestHarness(node)
    for payload in payloads:
        harness.send_message(port, payload)
    return harness


# --- all three


@ALL
def test_ports_are_named_and_others_ignored(transformer):
    made = transformer("t", IDENTITY[transformer], "in", "out")
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (["in"], ["out"])
    default = transformer("t", IDENTITY[transformer])
    assert ([p.name for p in default.inputs], [p.name for p in default.outputs]) == (["input"], ["output"])
    harness = sent(made, 1, port="input")
    harness.send_control("input")
    harness.send_error("input", 1)
    assert harness._emitted == {}


@ALL
def test_control_and_error_are_forwarded_unchanged(transformer):
    made = transformer("t", fails)
    messages = [Message(CONTROL, "secret"), Message(ERROR, "secret")]
    harness = NodeTestHarness(made)
    for message in messages:
        made.on_message("input", message)
    out = harness.get_emitted_messages("output")
    assert [a is b for a, b in zip(out, messages, strict=True)] == [True, True]


@ALL
@pytest.mark.v1("D57", "D53")
def test_a_failure_is_logged_with_its_own_class_and_the_next_message_follows(transformer, records):
    harness = sent(transformer("t", fails), 1, "secret", 2)
    assert len(harness.get_emitted_messages("output")) == 2
    assert [line["error_type"] for line in records("function_node.error")] == ["KeyError"]
    assert "secret" not in str(records("function_node.error"))


@ALL
@pytest.mark.v1("D57", "D51")
def test_a_failure_is_emitted_as_one_error_message_without_the_payload(transformer):
    harness = sent(transformer("t", fails, config=EMITTING), "secret", 1)
    error, data = harness.get_emitted_messages("output")
    assert (error.type, data.type) == (ERROR, DATA)
    assert error.payload == {
        "error_type": "KeyError",
        "error_message": "[redacted]",
        "context": {"node": "t"},
        "original_payload": "[redacted]",
    }
    with expose(error_messages=True):
        shown = sent(transformer("t", fails, config=EMITTING), "secret").get_emitted_messages("output")[0]
    assert shown.payload["original_payload"] == "secret"


@ALL
@pytest.mark.v1("D57")
def test_a_failure_is_raised_under_the_raising_policy_only(transformer):
    made = transformer("t", fails, config=RAISING)
    with pytest.raises(KeyError):
        sent(made, "secret")
    assert len(sent(made, 1).get_emitted_messages("output")) == 1


@ALL
@pytest.mark.v1("D54")
def test_what_comes_out_keeps_trace_headers_and_metadata(transformer):
    harness = NodeTestHarness(transformer("t", IDENTITY[transformer]))
    harness.send_message("input", 1, metadata={"m": 1}, headers={"trace_id": "t-1", "h": 2})
    (out,) = harness.get_emitted_messages("output")
    assert (out.get_trace_id(), out.headers["h"], out.metadata, out.type) == ("t-1", 2, {"m": 1}, DATA)


@pytest.mark.v1("D54")
@pytest.mark.parametrize("transformer", [MapTransformer, FlatMapTransformer])
def test_a_transformed_message_names_the_one_it_was_made_of(transformer):
    made = transformer("t", IDENTITY[transformer])
    harness, message = NodeTestHarness(made), Message(DATA, 1)
    made.on_message("input", message)
    (out,) = harness.get_emitted_messages("output")
    assert (out.get_parent_id(), out.get_trace_id()) == (message.get_id(), message.get_trace_id())


@ALL
@pytest.mark.req("V9")
@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_in_a_run_failures_are_counted_and_everything_else_arrives(transformer, policy):
    got: list[Any] = []
    made = transformer("t", fails, config=NodeConfig(policy))
    report = simulate(graph("g", source([1, "secret", 2]) >> made >> sink(got.append))).report
    assert len(got) == 2
    assert [(e.node, e.type, e.message) for e in report.errors] == [("t", "KeyError", "[redacted]")]
    assert report.reason == "finished"


kinds = st.lists(st.sampled_from([DATA, DATA, DATA, ERROR]), max_size=15)


@ALL
@given(
    kinds=kinds, capacity=st.integers(1, 2), max_parked=st.sampled_from([0, 1, 1024]), seed=st.integers(0, 3)
)
@pytest.mark.req("V4")
@pytest.mark.v1("D52", "D1")
def test_nothing_is_lost_nothing_doubled_and_the_order_kept_behind_a_full_edge(
    transformer, kinds, capacity, max_parked, seed
):
    got: list[Any] = []

    class Slow(Node):
        async def _handle_message(self, port: str, msg: Message[Any]) -> None:
            await asyncio.sleep(0.01)
            got.append((msg.type, msg.payload))

    def made() -> Any:
        node = transformer("t", IDENTITY[transformer])
        node.max_parked = max_parked
        messages = [Message(kind, i) for i, kind in enumerate(kinds)]
        end = Slow("end", *setup_standard_ports(["input"], None))
        return graph("g", source(messages) >> via(capacity=1) >> node >> via(capacity=capacity) >> end)

    report = simulate(made, seed=seed).report
    assert got == [(kind, i) for i, kind in enumerate(kinds)]
    assert (report.reason, report.errors_total) == ("finished", 0)


@ALL
@pytest.mark.req("V6")
def test_control_passes_a_run_too(transformer):
    got: list[Any] = []

    class End(Node):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            got.append((msg.type, msg.payload))

    end = End("end", *setup_standard_ports(["input"], None))
    simulate(graph("g", source([Message(CONTROL, "go")]) >> transformer("t", IDENTITY[transformer]) >> end))
    assert got == [(CONTROL, "go")]


@ALL
@pytest.mark.parametrize(
    ("function", "text"),
    [
        (None, "must be a function of 1 argument, got None"),
        (lambda: 1, "too many positional"),
        (asyncio.sleep, "asynchronous"),
    ],
)
def test_functions_that_cannot_be_meant_are_refused_by_name(transformer, function, text):
    with pytest.raises(ValueError, match=rf"{transformer.__name__} 't': .*{text}"):
        transformer("t", function)


# --- MapTransformer


@pytest.mark.v1("L11")
def test_map_emits_the_result_as_data():
    assert payloads(sent(MapTransformer("m", lambda x: 2 * x), 1, 2)) == [2, 4]


def test_map_emits_nothing_for_none_but_everything_else_that_is_false():
    assert payloads(sent(MapTransformer("m", lambda x: x), None, 0, "", [], False)) == [0, "", [], False]


def test_map_does_not_look_into_a_message_that_is_a_result():
    inner = Message(CONTROL, 1)
    (out,) = sent(MapTransformer("m", lambda x: inner), 1).get_emitted_messages("output")
    assert (out.type, out.payload is inner) == (DATA, True)


# --- FilterTransformer


def test_filter_forwards_the_very_same_message_if_the_predicate_holds():
    made = FilterTransformer("f", lambda x: x > 1)
    harness = NodeTestHarness(made)
    messages = [Message(DATA, x) for x in range(4)]
    for message in messages:
        made.on_message("input", message)
    out = harness.get_emitted_messages("output")
    assert [a is b for a, b in zip(out, messages[2:], strict=True)] == [True, True]


def test_filter_takes_any_result_for_its_truth():
    assert payloads(sent(FilterTransformer("f", lambda x: x), 0, 1, "", "a", None, [0])) == [1, "a", [0]]


@pytest.mark.v1("D57")
def test_a_result_without_a_truth_is_a_failure_of_the_predicate():
    class Vague:
        def __bool__(self) -> bool:
            raise ValueError

    made = FilterTransformer("f", lambda x: Vague())
    assert payloads(sent(made, 1)) == []
    with pytest.raises(ValueError):
        sent(FilterTransformer("f", lambda x: Vague(), config=RAISING), 1)


def test_filter_lets_control_pass_only_if_told_so_and_error_always():
    made = FilterTransformer("f", lambda x: True, pass_through_control=False)
    harness = NodeTestHarness(made)
    harness.send_control("input", 1)
    harness.send_error("input", 2)
    harness.send_message("input", 3)
    assert payloads(harness) == [2, 3]


def test_the_flag_comes_behind_the_ports():
    made = FilterTransformer("f", lambda x: True, "input", "output", False, EMITTING)
    harness = NodeTestHarness(made)
    harness.send_control("input", 1)
    assert (payloads(harness), made._config) == ([], EMITTING)
    with pytest.raises(
        TypeError, match="FilterTransformer 'f': pass_through_control must be True or False, got 'yes'"
    ):
        FilterTransformer("f", lambda x: True, pass_through_control="yes")  # type: ignore[arg-type]


# --- FlatMapTransformer


@pytest.mark.v1("L11")
def test_flat_map_emits_every_element_in_order():
    made = FlatMapTransformer("f", lambda x: (i for i in range(x)))
    assert payloads(sent(made, 3, 0, 2)) == [0, 1, 2, 0, 1]


def test_flat_map_emits_nothing_for_none():
    assert payloads(sent(FlatMapTransformer("f", lambda x: None), 1)) == []


def test_flat_map_emits_elements_that_are_none():
    assert payloads(sent(FlatMapTransformer("f", lambda x: [None, 0]), 1)) == [None, 0]


def test_flat_map_takes_a_result_that_is_no_iterable_for_a_failure(records):
    assert payloads(sent(FlatMapTransformer("f", lambda x: 5), 1)) == []
    assert [line["error_type"] for line in records("function_node.error")] == ["TypeError"]


def half(x: Any) -> Any:
    yield x
    yield x
    if x == 1:
        raise KeyError(x)


def test_flat_map_keeps_what_came_before_a_failure():
    harness = sent(FlatMapTransformer("f", half, config=EMITTING), 1, 2)
    assert [m.type for m in harness.get_emitted_messages("output")] == [DATA, DATA, ERROR, DATA, DATA]
    raising = NodeTestHarness(FlatMapTransformer("f", half, config=RAISING))
    with pytest.raises(KeyError):
        raising.send_message("input", 1)
    raising.send_message("input", 2)
    assert payloads(raising) == [1, 1, 2, 2]


@pytest.mark.v1("D1", "D52")
@pytest.mark.req("V4")
@pytest.mark.parametrize("capacity", [1, 3])
def test_a_hundred_elements_pass_a_narrow_edge(capacity):
    got: list[Any] = []
    made = FlatMapTransformer("f", range)
    simulate(graph("g", source([100, 3000, 5]) >> made >> via(capacity=capacity) >> sink(got.append)))
    assert got == [*range(100), *range(3000), *range(5)]


@given(
    sizes=st.lists(st.integers(0, 9), max_size=6),
    bad=st.sets(st.integers(0, 5)),
    policy=st.sampled_from(list(ErrorPolicy)),
    max_parked=st.sampled_from([0, 1, 2, 1024]),
    seed=st.integers(0, 3),
)
@pytest.mark.req("V4")
def test_flat_map_under_failures_and_full_edges_loses_only_what_failed(sizes, bad, policy, max_parked, seed):
    got: list[Any] = []

    def parts(item: tuple[int, int]) -> Any:
        n, size = item
        for i in range(size):
            yield n, i
        if n in bad:
            raise KeyError

    def made() -> Any:
        node = FlatMapTransformer("f", parts, config=NodeConfig(policy))
        node.max_parked = max_parked
        return graph("g", source(list(enumerate(sizes))) >> node >> via(capacity=1) >> sink(got.append))

    report = simulate(made, seed=seed).report
    assert got == [(n, i) for n, size in enumerate(sizes) for i in range(size)]
    assert report.errors_total == len([n for n in range(len(sizes)) if n in bad])
