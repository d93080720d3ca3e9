"""What the built-in nodes share: v1's contract of section 12.1 statement by statement, and bursts that wait for room."""

from __future__ import annotations

import asyncio
import functools
import itertools
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, Node, Port, PortDirection, PortSpec, graph, sink, source, via
from meridian.core.errors import BackpressureError
from meridian.core.message import DATA, ERROR
from meridian.core.policies import ErrorPolicy as CoreErrorPolicy
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import (
    BurstNode,
    DistributionStrategy,
    ErrorPolicy,
    FunctionNode,
    MergeStrategy,
    NodeConfig,
    TimingConfig,
    create_error_message,
    setup_standard_ports,
    validate_callable,
    validate_function,
)
from meridian.redaction import expose
from meridian.testing import simulate

pytestmark = [pytest.mark.req("V11"), pytest.mark.usefixtures("engine")]

SECRET = "canary-4711"


class OwnError(Exception):
    """A stranger's error whose text may contain a payload."""


class Calls(FunctionNode):
    """A subclass as v1 programs write them."""

    def __init__(
        self,
        function: Any,
        policy: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
        outputs: Any = ("out", "more"),
    ):
        super().__init__("calls", *setup_standard_ports(["in"], outputs), NodeConfig(policy))
        self._user_function = function

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        result = self._safe_call_user_function(msg.payload, original_message=msg)
        if result is not None:
            self.emit("out", msg.with_payload(result))


def fails(*args: Any, **kwargs: Any) -> Any:
    raise OwnError(SECRET)


def failing(policy: ErrorPolicy, outputs: Any = ("out", "more")) -> NodeTestHarness:
    return NodeTestHarness(Calls(fails, policy, outputs))


# --- enums and settings


def test_the_error_policies_are_texts_and_those_of_the_core():
    assert [(each.name, each.value) for each in ErrorPolicy] == [
        ("LOG_AND_CONTINUE", "log_continue"),
        ("EMIT_ERROR", "emit_error"),
        ("RAISE_EXCEPTION", "raise"),
    ]
    assert all(each == each.value for each in ErrorPolicy)
    assert ErrorPolicy is CoreErrorPolicy


def test_the_strategies_that_nothing_reads_keep_their_values():
    assert [(each.name, each.value) for each in MergeStrategy] == [
        ("ROUND_ROBIN", "round_robin"),
        ("PRIORITY", "priority"),
        ("TIMESTAMP", "timestamp"),
    ]
    assert [(each.name, each.value) for each in DistributionStrategy] == [
        ("ROUND_ROBIN", "round_robin"),
        ("HASH_BASED", "hash"),
        ("LOAD_BASED", "load"),
    ]
    assert all(each == each.value for each in (*MergeStrategy, *DistributionStrategy))


def test_a_node_config_has_slots_and_these_defaults():
    config = NodeConfig()
    assert (config.error_policy, config.enable_metrics, config.custom_labels) == (
        ErrorPolicy.LOG_AND_CONTINUE,
        True,
        {},
    )
    assert NodeConfig().custom_labels is not config.custom_labels
    assert NodeConfig(ErrorPolicy.EMIT_ERROR, False, {"a": "b"}) == NodeConfig(
        error_policy=ErrorPolicy.EMIT_ERROR, enable_metrics=False, custom_labels={"a": "b"}
    )
    with pytest.raises(AttributeError):
        config.unknown = 1  # type: ignore[attr-defined]  # that is the point


def test_a_timing_config_has_slots_and_these_defaults():
    config = TimingConfig()
    assert (config.interval_ms, config.timeout_ms, config.use_scheduler_ticks) == (100, 1000, True)
    with pytest.raises(AttributeError):
        config.unknown = 1  # type: ignore[attr-defined]  # that is the point


# --- FunctionNode


def test_a_function_node_takes_ports_and_a_config():
    inputs, outputs = setup_standard_ports(["a"], ["b"])
    config = NodeConfig(ErrorPolicy.RAISE_EXCEPTION)
    node = FunctionNode("f", inputs, outputs, config)
    assert (node.name, node.inputs, node.outputs, node._config) == ("f", inputs, outputs, config)
    assert FunctionNode("g", [], [])._config == NodeConfig()
    assert FunctionNode("g", [], [])._user_function is None
    assert isinstance(node, Node)


def test_a_safe_call_returns_the_result_and_hands_all_arguments_over():
    node = Calls(lambda *args, **kwargs: (args, kwargs))
    assert node._safe_call_user_function(1, 2, key=3) == ((1, 2), {"key": 3})


@pytest.mark.v1("D53")
def test_logging_a_failure_names_its_class_and_its_place_and_not_its_text(records):
    harness = failing(ErrorPolicy.LOG_AND_CONTINUE)
    harness.send_message("in", SECRET)
    (line,) = records("function_node.error")
    assert line["node"] == "calls"
    assert line["error_type"].endswith("test_nodes_base.OwnError")
    assert line["where"].endswith("in fails")
    assert SECRET not in str(line)


def test_logging_goes_on_with_none_and_the_next_message():
    node = Calls(fails)
    assert node._safe_call_user_function(1) is None
    harness = NodeTestHarness(Calls(lambda x: 10 // x))
    for x in (5, 0, 2):
        harness.send_message("in", x)
    assert [m.payload for m in harness.get_emitted_messages("out")] == [2, 5]


@pytest.mark.req("V9")
def test_a_failure_that_was_logged_is_in_the_report():
    got: list[Any] = []
    report = simulate(
        graph("g", source([5, 0, 2]) >> Calls(lambda x: 10 // x)["out"] >> sink(got.append))
    ).report
    assert got == [2, 5]
    assert [(e.node, e.type, e.message) for e in report.errors] == [
        ("calls", "ZeroDivisionError", "[redacted]")
    ]


def test_emitting_a_failure_uses_the_first_output_and_returns_none():
    node = Calls(fails, ErrorPolicy.EMIT_ERROR)
    harness = NodeTestHarness(node)
    original = Message(DATA, SECRET)
    assert node._safe_call_user_function(SECRET, original_message=original) is None
    (error,) = harness.get_emitted_messages("out")
    assert error.type is ERROR
    assert error.payload["error_type"] == "OwnError"
    assert error.payload["context"] == {"node": "calls"}
    assert harness.get_emitted_messages("more") == []


def test_emitting_a_failure_without_outputs_is_silence():
    harness = failing(ErrorPolicy.EMIT_ERROR, outputs=None)
    harness.send_message("in", 1)
    assert harness._emitted == {}


def test_emitting_a_failure_without_an_original_message_raises_it():
    with pytest.raises(OwnError):
        Calls(fails, ErrorPolicy.EMIT_ERROR)._safe_call_user_function(1)


def test_the_raising_policy_raises_what_the_function_raised():
    with pytest.raises(OwnError):
        failing(ErrorPolicy.RAISE_EXCEPTION).send_message("in", 1)


def test_a_node_without_a_function_says_so():
    with pytest.raises(RuntimeError, match="node 'calls' has no user function"):
        Calls(None, ErrorPolicy.RAISE_EXCEPTION)._safe_call_user_function(1)


def test_what_ends_the_process_is_no_failure_of_a_function():
    def leaves(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Calls(leaves)._safe_call_user_function(1)


# --- create_error_message


def test_an_error_message_has_these_keys_and_this_metadata():
    message = create_error_message(ValueError("x"), {"node": "n"})
    assert message.type is ERROR
    assert set(message.payload) == {"error_type", "error_message", "context"}
    assert (message.payload["error_type"], message.payload["context"]) == ("ValueError", {"node": "n"})
    assert message.metadata == {"error_source": "built_in_node"}


def test_an_error_message_about_a_message_has_one_key_more():
    message = create_error_message(ValueError("x"), {}, Message(DATA, 1))
    assert set(message.payload) == {"error_type", "error_message", "context", "original_payload"}


@pytest.mark.v1("D51")
@pytest.mark.req("V10")
def test_an_error_message_contains_no_payload_unless_that_is_switched_on():
    original = Message(DATA, {"card": SECRET})
    hidden = create_error_message(OwnError(SECRET), {"node": "n"}, original)
    assert SECRET not in str(hidden.payload)
    assert hidden.payload["original_payload"] == "[redacted]"
    with expose(error_messages=True):
        shown = create_error_message(OwnError(SECRET), {"node": "n"}, original)
    assert (shown.payload["error_message"], shown.payload["original_payload"]) == (SECRET, {"card": SECRET})


@pytest.mark.v1("D54")
def test_an_error_message_keeps_the_trace_of_the_message_in_hand():
    original = Message(DATA, 1, headers={"trace_id": "t-1"})
    assert create_error_message(ValueError(), {}, original).get_trace_id() == "t-1"


def test_texts_of_our_own_errors_are_shown():
    error = BackpressureError("a:o->b:i", 3, "a", "o", Message(DATA, SECRET))
    assert (
        create_error_message(error, {}).payload["error_message"]
        == "Backpressure: Edge a:o->b:i is full (capacity: 3)"
    )


# --- validate_callable, validate_function


@pytest.mark.parametrize("nothing", [None, 5, "f"])
def test_something_that_cannot_be_called_is_refused(nothing):
    with pytest.raises(ValueError, match=type(nothing).__name__):
        validate_callable(nothing)


def test_a_function_with_too_few_parameters_is_refused():
    with pytest.raises(ValueError, match="must take 2 positional arguments, takes 1"):
        validate_callable(lambda x: x, 2)


def test_arguments_by_star_do_not_count():
    with pytest.raises(ValueError, match="takes 0"):
        validate_callable(lambda *args: args, 1)
    with pytest.raises(ValueError, match="print must take 1"):
        validate_callable(print, 1)


def test_what_can_be_called_passes():
    validate_callable(print)
    validate_callable(lambda x: x, 1)
    validate_callable(lambda x, y=1: x, 1)
    validate_callable(int, 1)  # doesn't tell its parameters


@pytest.mark.parametrize(
    ("function", "arity"),
    [
        (print, 1),
        (lambda *a: a, 3),
        (lambda x=1: x, 0),
        (int, 1),
        (dict, 0),
        (functools.partial(pow, 2), 1),
        (max, 2),
    ],
)
def test_a_constructor_takes_whatever_can_be_called_like_that(function, arity):
    validate_function(Node("n"), "f", function, arity)


async def asynchronous(x: Any) -> Any:
    return x


async def stream(x: Any) -> Any:
    yield x


@pytest.mark.parametrize(
    ("function", "arity", "text"),
    [
        (None, 1, r"Node 'n': f must be a function of 1 argument, got None"),
        ("secret", 2, r"Node 'n': f must be a function of 2 arguments, got 'secret'"),
        (lambda: 1, 1, r"Node 'n': f must be a function of 1 argument, but too many positional"),
        (lambda x, y: 1, 1, r"but missing a required argument: 'y'"),
        (asynchronous, 1, r"asynchronous one: use AsyncWorker"),
        (stream, 1, r"asynchronous one"),
    ],
)
def test_a_constructor_says_what_is_wrong_with_a_function(function, arity, text):
    with pytest.raises(ValueError, match=text):
        validate_function(Node("n"), "f", function, arity)


# --- setup_standard_ports


def test_standard_ports_have_a_spec_of_their_name_and_no_schema():
    inputs, outputs = setup_standard_ports(["a", "b"], ["c"])
    assert inputs == [
        Port("a", PortDirection.INPUT, spec=PortSpec("a")),
        Port("b", PortDirection.INPUT, spec=PortSpec("b")),
    ]
    assert outputs == [Port("c", PortDirection.OUTPUT, spec=PortSpec("c"))]
    assert outputs[0].spec is not None
    assert outputs[0].spec.schema is None


def test_no_names_are_no_ports():
    assert setup_standard_ports(None, None) == ([], [])
    assert setup_standard_ports([], []) == ([], [])


# --- bursts


class Flat(BurstNode):
    """Emits what a function makes of each message."""

    def __init__(
        self, many: Any = lambda x: [x], outputs: Any = ("out",), max_parked: int | None = None
    ) -> None:
        super().__init__("flat", *setup_standard_ports(["in"], outputs))
        self.many = many
        if max_parked is not None:
            self.max_parked = max_parked

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is DATA:
            self._emit_all("out", (msg.with_payload(item) for item in self.many(msg.payload)))
        else:
            self._emit_to_each([port.name for port in self.outputs], msg)


bursts = st.lists(st.integers(0, 6), max_size=8)


@pytest.mark.req("V4")
@pytest.mark.v1("D52", "D1")
@given(sizes=bursts, capacity=st.integers(1, 3), max_parked=st.integers(0, 4), seed=st.integers(0, 5))
def test_bursts_arrive_whole_and_in_order_whatever_the_room(sizes, capacity, max_parked, seed):
    got: list[Any] = []

    def made() -> Any:
        flat = Flat(lambda item: [(item[0], i) for i in range(item[1])], max_parked=max_parked)
        return graph(
            "g",
            source(list(enumerate(sizes)))
            >> via(capacity=1)
            >> flat
            >> via(capacity=capacity)
            >> sink(got.append),
        )

    report = simulate(made, seed=seed).report
    assert got == [(n, i) for n, size in enumerate(sizes) for i in range(size)]
    assert (report.reason, report.errors_total) == ("finished", 0)


@pytest.mark.req("V4")
def test_a_burst_that_is_refused_very_often_stays_shallow():
    n = 100_000  # one iterator inside another for each refusal would overflow the stack
    got: list[Any] = []
    refused: list[Any] = []
    flat = Flat(range)

    def emit(port: str, msg: Message[Any]) -> Message[Any]:
        if len(refused) == len(got):
            refused.append(msg)
            raise BackpressureError("e", 1, "flat", port, msg)
        got.append(msg)
        return msg

    flat.emit = emit  # type: ignore[method-assign]  # every message is refused once
    flat.on_message("in", Message(DATA, n))
    while flat.has_pending():
        flat.on_tick()
    assert [msg.payload for msg in got] == list(range(n))
    assert all(map(operator.is_, got, refused))


@pytest.mark.req("V4")
def test_a_burst_that_may_park_nothing_waits_without_spinning():
    got: list[Any] = []

    async def slow(x: Any) -> None:
        await asyncio.sleep(1)
        got.append(x)

    flat = Flat(range, max_parked=0)
    simulation = simulate(graph("g", source([5]) >> flat >> via(capacity=1) >> sink(slow, name="slow")))
    assert got == [0, 1, 2, 3, 4]
    assert simulation.elapsed_s == pytest.approx(5, abs=0.1)


@pytest.mark.req("V4")
def test_an_element_that_does_not_fit_an_edge_takes_nothing_with_it():
    got: list[Any] = []

    class Ints(Node):
        def __init__(self) -> None:
            super().__init__("ints", [Port("in", PortDirection.INPUT, spec=PortSpec("in", int))])

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            got.append(msg.payload)

    flat = Flat(lambda _: [1, "two", 3, "four", 5])
    report = simulate(graph("g", source([0, 0]) >> flat >> Ints())).report
    assert got == [1, 3, 5, 1, 3, 5]
    assert [error.node for error in report.errors] == ["flat"] * 4
    assert report.reason == "finished"


@pytest.mark.req("V4")
def test_a_burst_whose_iterable_fails_does_not_hold_up_the_one_behind_it():
    def fails_late(x: int) -> Any:
        yield from range(3)
        raise OwnError

    class Both(Flat):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            super()._handle_message(port, msg)
            self._emit_all("out", [Message(DATA, "behind")])

    got: list[Any] = []
    flat = Both(fails_late, max_parked=1)
    report = simulate(graph("g", source([0, 0]) >> flat >> via(capacity=1) >> sink(got.append))).report
    assert got == [0, 1, 2, "behind"] * 2
    assert (report.reason, report.errors_total) == ("finished", 2)


@pytest.mark.req("V4")
@pytest.mark.v1("D3")
@pytest.mark.parametrize("max_parked", [0, 1, 2, 1024])
def test_a_message_for_several_ports_reaches_each_once_though_some_are_full(max_parked):
    got: dict[str, list[Any]] = {"a": [], "b": [], "c": []}
    flat = Flat(outputs=("a", "b", "c"), max_parked=max_parked)
    sent = [Message(ERROR, i) for i in range(20)]

    class End(Node):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            got[self.name].append(msg)

    ends = [flat[port] >> via(capacity=1) >> End(port, *setup_standard_ports(["in"], None)) for port in got]
    simulate(graph("g", source(sent) >> flat, *ends))
    assert all(each == sent for each in got.values())


@pytest.mark.req("V4")
def test_a_burst_that_a_run_left_unfinished_goes_on_in_the_next():
    got: list[Any] = []
    stuck = True

    async def end(x: Any) -> None:
        if stuck:
            await asyncio.Event().wait()
        got.append(x)

    made = graph(
        "g",
        source([0]) >> Flat(lambda _: range(40), max_parked=3) >> via(capacity=2) >> sink(end, name="end"),
    )
    first = simulate(made, until_s=1, config=SchedulerConfig(shutdown_timeout_s=1))
    assert (first.report.reason, got) == ("shutdown", [])
    stuck = False
    second = simulate(made)
    # One was in the sink's hands; the source begins anew.
    assert got == [*range(1, 40), *range(40)]
    assert second.report.reason == "finished"


def test_in_a_harness_a_burst_is_emitted_at_once():
    harness = NodeTestHarness(Flat(range))
    harness.send_message("in", 3000)
    assert len(harness.get_emitted_messages("out")) == 3000
    assert harness.node.has_pending() is False


def test_an_endless_burst_stops_where_the_room_ends():
    flat = Flat(lambda _: itertools.count(), max_parked=4)

    async def stuck(_: Any) -> None:
        await asyncio.sleep(10**6)

    made = graph("g", source([0]) >> flat >> via(capacity=2) >> sink(stuck, name="stuck"))
    report = simulate(made, until_s=5, config=SchedulerConfig(shutdown_timeout_s=1)).report
    assert report.reason == "shutdown"
    assert next(edge for edge in report.edges if edge.id.startswith("flat")).accepted <= 4


# ---- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_an_error_policy_may_be_given_by_its_value(policy):
    assert NodeConfig(error_policy=policy.value).error_policy is policy  # as files of settings have it
    node = Calls(lambda payload: 1 / 0, policy=policy.value)
    harness = NodeTestHarness(node)
    if policy is ErrorPolicy.RAISE_EXCEPTION:
        with pytest.raises(ZeroDivisionError):
            harness.send_message("in", SECRET)
    else:
        harness.send_message("in", SECRET)
    assert len(harness.get_emitted_messages("out")) == (policy is ErrorPolicy.EMIT_ERROR)


def test_an_error_policy_may_be_set_by_its_value_later_on():
    node = Calls(lambda payload: 1 / 0)
    node._config.error_policy = "emit_error"
    harness = NodeTestHarness(node)
    harness.send_message("in", SECRET)
    (failed,) = harness.get_emitted_messages("out")
    assert failed.type is ERROR


def test_an_error_policy_that_there_is_not_is_refused_where_it_is_given():
    with pytest.raises(ValueError, match=r"error_policy must be one of .*'emit_error'.*, got 'emit'"):
        NodeConfig(error_policy="emit")


def test_settings_of_another_kind_are_refused_where_they_are_given():
    with pytest.raises(TypeError, match=r"FunctionNode 'f': config must be a NodeConfig, got dict"):
        FunctionNode("f", [], [], {"error_policy": "raise"})
