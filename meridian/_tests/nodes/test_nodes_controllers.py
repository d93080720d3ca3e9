"""Router, Merger and Splitter: section 12.4 of v1's contract."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, Node, Port, PortDirection, PortSpec, graph, sink, source, via
from meridian._tests.nodes.parts import payloads
from meridian.core.message import CONTROL, DATA, ERROR
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import ErrorPolicy, NodeConfig, setup_standard_ports
from meridian.nodes.controllers import Merger, Router, Splitter
from meridian.testing import simulate

pytestmark = [pytest.mark.req("V11"), pytest.mark.usefixtures("engine")]

PORTS = ["c", "a", "b"]  # neither sorted nor in the order of a set
RAISING = NodeConfig(ErrorPolicy.RAISE_EXCEPTION)


def route(x: Any) -> Any:
    if x == "secret":
        raise KeyError(x)
    return x


def sent(node: Node, *payloads: Any) -> NodeTestHarness:
    harness = NodeTestHarness(node)
    for payload in payloads:
        harness.send_message("input", payload)
    return harness


def order_of_emits(node: Node, message: Message[Any], port: str = "input") -> list[str]:
    order: list[str] = []

    def emit(out: str, msg: Message[Any]) -> Message[Any]:
        assert msg is message
        order.append(out)
        return msg

    node.emit = emit  # type: ignore[method-assign]
    node.on_message(port, message)
    return order


class End(Node):
    """Keeps the messages that come."""

    def __init__(self, name: str) -> None:
        super().__init__(name, *setup_standard_ports(["input"], None))
        self.got: list[Message[Any]] = []

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.got.append(msg)


def run(
    node: Node, messages: list[Message[Any]], seed: int = 0, capacity: int = 1
) -> tuple[dict[str, list[Any]], Any]:
    """Run messages through ``node`` and return what came out of each port, as they are."""
    ends = {port.name: End(f"end {port.name}") for port in node.outputs}
    wired = [node[name] >> via(capacity=capacity) >> end for name, end in ends.items()]
    report = simulate(graph("g", source(messages) >> via(capacity=1) >> node, *wired), seed=seed).report
    return {name: end.got for name, end in ends.items()}, report


# --- Router


@pytest.mark.v1("L11")
def test_a_router_sends_data_to_the_named_port_as_it_is():
    assert order_of_emits(Router("r", route, PORTS), Message(DATA, "a")) == ["a"]
    harness = sent(Router("r", route, PORTS), "a", "b", "a")
    assert (payloads(harness, "a"), payloads(harness, "b"), payloads(harness, "c")) == (["a", "a"], ["b"], [])


def test_a_router_has_its_ports_in_the_declared_order_and_ignores_other_inputs():
    made = Router("r", route, PORTS, "in", "a", RAISING)
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (["in"], PORTS)
    assert made._config is RAISING
    harness = sent(made, "a")
    harness.send_control("input")
    assert harness._emitted == {}


@pytest.mark.parametrize("unknown", ["nowhere", None, 5, ["a"], {}])
def test_an_unknown_port_means_the_default_port(unknown):
    harness = sent(Router("r", lambda x: unknown, PORTS, default_port="b"), 1)
    assert payloads(harness, "b") == [1]
    assert harness.node.dropped == 0


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_an_exception_means_the_default_port_under_every_policy(policy, records):
    harness = sent(Router("r", route, PORTS, default_port="b", config=NodeConfig(policy)), "secret")
    assert payloads(harness, "b") == ["secret"]
    assert harness.node.dropped == 0
    (line,) = records("router.error")
    assert (line["node"], line["error_type"]) == ("r", "KeyError")
    assert "secret" not in str(line)


@pytest.mark.v1("D58")
@pytest.mark.parametrize("default", [None, "nowhere", "input"])
def test_without_a_default_port_that_exists_the_drop_is_counted_and_logged(default, records):
    made = Router("r", route, PORTS, default_port=default)
    harness = sent(made, *["nowhere"] * 50, "secret")
    assert harness._emitted == {}
    assert made.dropped == 51
    (line,) = records("router.dropped")  # at most one a second
    assert (line["node"], line["dropped"], line["level"]) == ("r", 1, "WARN")
    assert "nowhere" not in str(line)


@pytest.mark.v1("D58")
@pytest.mark.req("V9")
def test_an_exception_of_the_routing_function_is_in_the_report():
    made = Router("r", route, PORTS, default_port="b")
    got, report = run(made, [Message(DATA, "secret"), Message(DATA, "a")])
    assert [(e.node, e.type, e.message) for e in report.errors] == [("r", "KeyError", "[redacted]")]
    assert {port: len(messages) for port, messages in got.items()} == {"a": 1, "b": 1, "c": 0}


@pytest.mark.v1("D58")
@pytest.mark.parametrize("made", [lambda: Router("r", route, PORTS), lambda: Splitter("s", PORTS)])
@pytest.mark.parametrize("kind", [CONTROL, ERROR])
def test_control_and_error_go_to_all_outputs_in_the_declared_order(made, kind):
    assert order_of_emits(made(), Message(kind, "a")) == PORTS


@pytest.mark.v1("L7")
def test_an_output_that_was_added_later_counts():
    made = Router("r", route, ["a"])
    made.outputs.append(Port("late", PortDirection.OUTPUT))
    assert payloads(sent(made, "late"), "late") == ["late"]


class Text(str):
    """A name that is more than a text."""

    __slots__ = ()


def test_a_name_may_be_a_text_of_another_class():
    assert payloads(sent(Router("r", lambda x: Text("a"), PORTS), 1), "a") == [1]


# --- Splitter


@pytest.mark.v1("L11")
def test_a_splitter_sends_data_to_every_output_whose_filter_is_missing_or_true():
    made = Splitter("s", PORTS, port_filters={"a": lambda x: x > 1, "b": lambda x: 0})
    assert order_of_emits(made, Message(DATA, 2)) == ["c", "a"]
    harness = sent(Splitter("s", PORTS, port_filters={"a": lambda x: x > 1, "b": lambda x: 0}), 1, 2, 3)
    assert [payloads(harness, port) for port in PORTS] == [[1, 2, 3], [2, 3], []]


def test_without_filters_data_goes_everywhere():
    assert order_of_emits(Splitter("s", PORTS), Message(DATA, 1)) == PORTS


def test_a_splitter_takes_its_parameters_in_this_order_and_ignores_other_inputs():
    made = Splitter("s", PORTS, "in", {"a": bool}, RAISING)
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (["in"], PORTS)
    assert made._config is RAISING
    assert sent(made, 1)._emitted == {}


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_a_raising_filter_counts_as_false_under_every_policy_and_is_told(policy, records):
    made = Splitter("s", PORTS, port_filters={"a": route}, config=NodeConfig(policy))
    harness = sent(made, *["secret"] * 20)
    assert [len(payloads(harness, port)) for port in PORTS] == [20, 0, 20]
    (line,) = records("splitter.filter_error")
    assert (line["node"], line["error_type"]) == ("s", "KeyError")
    assert "secret" not in str(line)


@pytest.mark.req("V9")
def test_a_raising_filter_is_in_the_report():
    got, report = run(Splitter("s", PORTS, port_filters={"a": route}), [Message(DATA, "secret")])
    assert [(e.node, e.type) for e in report.errors] == [("s", "KeyError")]
    assert {port: len(messages) for port, messages in got.items()} == {"a": 0, "b": 1, "c": 1}


@pytest.mark.req("V4")
def test_a_payload_that_does_not_fit_one_edge_still_takes_the_others():
    made = Splitter("s", ["a", "b"])
    only, every = End("only"), End("every")
    only.inputs = [Port("input", PortDirection.INPUT, spec=PortSpec("input", str))]
    report = simulate(graph("g", source([1, "x", 2]) >> made, made["a"] >> only, made["b"] >> every)).report
    assert ([m.payload for m in only.got], [m.payload for m in every.got]) == (["x"], [1, "x", 2])
    assert report.errors_total == 2


# --- Merger


@pytest.mark.v1("L11")
def test_a_merger_forwards_every_kind_from_every_listed_input_as_it_is():
    made = Merger("m", ["a", "b"])
    for port in ("a", "b"):
        for kind in (DATA, CONTROL, ERROR):
            assert order_of_emits(Merger("m", ["a", "b"]), Message(kind, 1), port) == ["output"]
    assert order_of_emits(made, Message(DATA, 1), "output") == []
    assert order_of_emits(made, Message(DATA, 1), "input") == []


def test_a_merger_takes_its_parameters_in_this_order():
    made = Merger("m", PORTS, "out", RAISING)
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (PORTS, ["out"])
    assert made._config is RAISING


@given(
    streams=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 1024]),
    seed=st.integers(0, 5),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D4")
def test_a_merger_keeps_every_message_and_the_order_of_each_input(streams, capacity, max_parked, seed):
    got: list[Any] = []

    def made() -> Any:
        node = Merger("m", PORTS)
        node.max_parked = max_parked
        feeds = [
            source([(port, i) for i in range(n)], name=f"from {port}") >> via(capacity=1) >> node[port]
            for port, n in zip(PORTS, streams, strict=True)
        ]
        return graph("g", *feeds, node >> via(capacity=capacity) >> sink(got.append))

    assert simulate(made, seed=seed).report.reason == "finished"
    for port, n in zip(PORTS, streams, strict=True):
        assert [item for item in got if item[0] == port] == [(port, i) for i in range(n)]
    assert len(got) == sum(streams)


# --- nothing lost, nothing doubled

messages = st.lists(
    st.tuples(
        st.sampled_from([DATA, DATA, ERROR, CONTROL]), st.sampled_from(["a", "b", "c", "nowhere", "secret"])
    ),
    max_size=15,
)


@given(
    messages=messages,
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 2, 1024]),
    default=st.sampled_from([None, "b"]),
    seed=st.integers(0, 5),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D1", "D3", "D52")
def test_a_router_behind_full_edges_loses_and_doubles_nothing(messages, capacity, max_parked, default, seed):
    made = Router("r", route, PORTS, default_port=default)
    made.max_parked = max_parked
    sent = [Message(kind, payload) for kind, payload in messages]
    got, report = run(made, sent, seed, capacity)
    expected: dict[str, list[Any]] = {port: [] for port in PORTS}
    for message in sent:
        target = message.payload if message.payload in PORTS else default
        for port in PORTS:
            if message.type is not DATA or port == target:
                expected[port].append(message)
    for port in PORTS:  # CONTROL may overtake
        for control in (True, False):
            kept = [m for m in expected[port] if (m.type is CONTROL) is control]
            came = [m for m in got[port] if (m.type is CONTROL) is control]
            assert list(map(id, came)) == list(map(id, kept))
    nowhere = [m for m in sent if m.type is DATA and m.payload not in PORTS]
    assert made.dropped == (0 if default else len(nowhere))
    assert report.reason == "finished"


@given(
    messages=messages,
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 2, 1024]),
    seed=st.integers(0, 5),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D1", "D3", "D52")
def test_a_splitter_behind_full_edges_loses_and_doubles_nothing(messages, capacity, max_parked, seed):
    made = Splitter("s", PORTS, port_filters={"a": lambda x: route(x) != "b"})
    made.max_parked = max_parked
    sent = [Message(kind, payload) for kind, payload in messages]
    got, report = run(made, sent, seed, capacity)
    for port in PORTS:
        expected = [m for m in sent if port != "a" or m.type is not DATA or m.payload not in ("b", "secret")]
        for control in (True, False):  # CONTROL may overtake
            kept = [m for m in expected if (m.type is CONTROL) is control]
            came = [m for m in got[port] if (m.type is CONTROL) is control]
            assert list(map(id, came)) == list(map(id, kept))
    assert report.reason == "finished"


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (
            lambda: Router("r", None, PORTS),
            ValueError,
            "Router 'r': routing_fn must be a function of 1 argument, got None",
        ),
        (
            lambda: Router("r", route, "abc"),
            TypeError,
            "Router 'r': output_ports must be a list of port names, got 'abc'",
        ),
        (
            lambda: Router("r", route, cast(Any, ["a", 1])),
            TypeError,
            r"output_ports must be a list of port names, got \['a', 1\]",
        ),
        (lambda: Router("r", route, []), ValueError, "output_ports must be at least one port name"),
        (
            lambda: Router("r", route, ["a", "a"]),
            ValueError,
            "output_ports must be at least one port name, each once",
        ),
        (
            lambda: Router("r", route, ["a"], default_port=1),
            TypeError,
            "default_port must be the name of an output, or None, got 1",
        ),
        (lambda: Merger("m", "ab"), TypeError, "Merger 'm': input_ports"),
        (lambda: Merger("m", []), ValueError, "input_ports"),
        (lambda: Splitter("s", "ab"), TypeError, "Splitter 's': output_ports"),
        (lambda: Splitter("s", ["a"], port_filters=5), TypeError, "port_filters must be a mapping .* got 5"),
        (
            lambda: Splitter("s", ["a"], port_filters={"b": bool}),
            ValueError,
            r"port_filters must be for one of \['a'\], got 'b'",
        ),
        (
            lambda: Splitter("s", ["a"], port_filters=cast(Any, {"a": 5})),
            ValueError,
            r"port_filters\['a'\] must be a function",
        ),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(made, error, text):
    with pytest.raises(error, match=text):
        made()
