"""DataConsumer and BatchConsumer: section 12.3 of v1's contract."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, graph, source, via
from meridian.core.message import CONTROL, DATA, ERROR
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import ErrorPolicy, NodeConfig
from meridian.nodes.consumers import BatchConsumer, DataConsumer, UpstreamError
from meridian.testing import simulate

pytestmark = pytest.mark.req("V11")

RAISING = NodeConfig(ErrorPolicy.RAISE_EXCEPTION)
EMITTING = NodeConfig(ErrorPolicy.EMIT_ERROR)
BOTH = pytest.mark.parametrize("consumer", [DataConsumer, BatchConsumer])


def fails_on_three(x: Any) -> None:
    if x in (3, [3]):
        raise KeyError("secret")


# --- DataConsumer


@pytest.mark.v1("L11")
def test_the_handler_gets_each_payload_at_once():
    got: list[Any] = []
    harness = NodeTestHarness(DataConsumer("c", got.append))
    for x in (1, None, {"a": 2}):
        harness.send_message("input", x)
    assert got == [1, None, {"a": 2}]


def test_control_and_error_are_ignored():
    got: list[Any] = []
    harness = NodeTestHarness(DataConsumer("c", got.append, config=RAISING))
    harness.send_control("input", "flush")
    harness.send_error("input", {"error": 1})
    assert got == []


@BOTH
def test_a_consumer_has_one_input_named_by_input_port_and_ignores_all_others(consumer):
    got: list[Any] = []
    made = consumer("c", got.append, input_port="in")
    assert [port.name for port in made.inputs] == ["in"]
    assert made.outputs == []
    harness = NodeTestHarness(made)
    harness.send_message("input", 1)
    harness.send_control("input")
    harness.send_error("input", 1)
    made.on_stop()
    assert got == []


def test_parameters_come_in_this_order():
    got: list[Any] = []
    one = DataConsumer("c", got.append, "in", RAISING)
    assert (one.name, one.inputs[0].name, one._config) == ("c", "in", RAISING)
    many = BatchConsumer("c", got.append, 2, "in", RAISING)
    assert (many.name, many.inputs[0].name, many._config) == ("c", "in", RAISING)
    harness = NodeTestHarness(many)
    harness.send_message("in", 1)
    harness.send_message("in", 2)
    assert got == [[1, 2]]


@BOTH
def test_a_failure_is_logged_and_the_next_message_follows(consumer, records):
    seen: list[Any] = []

    def handler(x: Any) -> None:
        seen.append(x)
        fails_on_three(x)

    made = consumer("c", handler) if consumer is DataConsumer else consumer("c", handler, 1)
    harness = NodeTestHarness(made)
    for x in (2, 3, 4):
        harness.send_message("input", x)
    assert [x if isinstance(x, int) else x[0] for x in seen] == [2, 3, 4]
    assert [line["error_type"] for line in records("function_node.error")] == ["KeyError"]
    assert "secret" not in str(records("function_node.error"))


@BOTH
def test_under_the_raising_policy_a_failure_leaves_the_hook(consumer):
    made = consumer("c", fails_on_three, config=RAISING)
    if consumer is BatchConsumer:
        made = consumer("c", fails_on_three, 1, config=RAISING)
    with pytest.raises(KeyError):
        NodeTestHarness(made).send_message("input", 3)


@BOTH
def test_there_is_no_output_to_emit_a_failure_on(consumer, records):
    made = consumer("c", fails_on_three, config=EMITTING)
    harness = NodeTestHarness(made)
    harness.send_message("input", 3)
    harness.send_control("input")
    assert harness._emitted == {}
    assert records("function_node.error") == []


@pytest.mark.req("V9")
@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_every_failure_is_in_the_report_and_the_run_goes_on(policy):
    made = DataConsumer("c", fails_on_three, config=NodeConfig(policy))
    report = simulate(graph("g", source([1, 3, 3, 4]) >> made)).report
    assert [(e.node, e.type, e.message) for e in report.errors] == [("c", "KeyError", "[redacted]")] * 2
    assert (report.reason, next(n.handled for n in report.nodes if n.name == "c")) == ("finished", 4)


# --- BatchConsumer


def batches(size: int = 3, **kwargs: Any) -> tuple[NodeTestHarness, list[Any]]:
    got: list[Any] = []
    return NodeTestHarness(BatchConsumer("c", got.append, size, **kwargs)), got


@pytest.mark.v1("L11")
def test_the_handler_gets_a_list_as_soon_as_it_is_full():
    harness, got = batches()
    for x in range(7):
        harness.send_message("input", x)
    assert got == [[0, 1, 2], [3, 4, 5]]


def test_ten_are_a_batch_unless_told_otherwise():
    got: list[Any] = []
    harness = NodeTestHarness(BatchConsumer("c", got.append))
    for x in range(10):
        harness.send_message("input", x)
    assert got == [list(range(10))]


def test_control_flushes_the_rest():
    harness, got = batches()
    harness.send_message("input", 1)
    harness.send_control("input")
    harness.send_control("input")
    for x in range(3):
        harness.send_message("input", x)
    assert got == [[1], [0, 1, 2]]


def test_each_list_is_the_handlers_own():
    harness, got = batches(1)
    harness.send_message("input", 1)
    got[0].append("mine")
    harness.send_message("input", 2)
    assert got == [[1, "mine"], [2]]


@pytest.mark.v1("D56")
def test_the_stop_flushes_the_rest_once():
    harness, got = batches()
    harness.send_message("input", 1)
    harness.node.on_drain()
    harness.node.on_stop()
    harness.send_message("input", 2)
    harness.node.on_stop()
    assert got == [[1], [2]]


@pytest.mark.v1("D56")
def test_at_the_end_of_a_run_the_rest_is_flushed():
    got: list[Any] = []
    simulate(graph("g", source(range(5)) >> BatchConsumer("c", got.append, 3)))
    assert got == [[0, 1, 2], [3, 4]]


@pytest.mark.v1("D56")
@pytest.mark.req("V8")
def test_a_shutdown_flushes_the_rest():
    got: list[Any] = []

    async def items() -> Any:
        for i in range(10**6):
            yield i
            await asyncio.sleep(1)

    simulate(graph("g", source(items()) >> BatchConsumer("c", got.append, 3)), until_s=4.5)
    assert got == [[0, 1, 2], [3, 4]]


@pytest.mark.v1("D56")
def test_a_run_that_is_cut_off_flushes_the_rest_too():
    got: list[Any] = []

    async def items() -> Any:
        yield 1
        await asyncio.Event().wait()

    class Stuck(BatchConsumer):
        async def on_drain(self) -> None:
            await asyncio.Event().wait()

    made = graph("g", source(items()) >> Stuck("c", got.append, 3))
    simulate(made, until_s=1, config=SchedulerConfig(shutdown_timeout_s=1))
    assert got == [[1]]


@pytest.mark.v1("D56", "D53")
def test_an_error_message_never_reaches_the_handler_and_is_logged(records):
    harness, got = batches()
    harness.send_message("input", 1)
    harness.send_error("input", {"error_type": "secret"})
    harness.send_control("input")
    assert got == [[1]]
    (line,) = records("function_node.error")
    assert line["error_type"].endswith("UpstreamError")
    assert line["error_msg"] == "an ERROR message came to node 'c'"
    assert "secret" not in str(line)


@pytest.mark.v1("D56")
def test_an_error_message_raises_under_the_raising_policy_and_leaves_the_batch_as_it_is():
    harness, got = batches(config=RAISING)
    harness.send_message("input", 1)
    with pytest.raises(UpstreamError, match="an ERROR message came to node 'c'"):
        harness.send_error("input", "x")
    harness.send_control("input")
    assert got == [[1]]


@pytest.mark.v1("D56")
@pytest.mark.req("V9")
def test_an_error_message_is_in_the_report():
    made = BatchConsumer("c", lambda batch: None, config=EMITTING)
    report = simulate(graph("g", source([1, Message(ERROR, "secret")]) >> made)).report
    assert [(e.node, e.message) for e in report.errors] == [("c", "an ERROR message came to node 'c'")]


def test_a_batch_that_failed_is_not_handed_over_again():
    got: list[Any] = []

    def handler(batch: list[Any]) -> None:
        got.append(batch)
        raise ValueError

    harness = NodeTestHarness(BatchConsumer("c", handler, 2))
    for x in range(4):
        harness.send_message("input", x)
    harness.send_control("input")
    assert got == [[0, 1], [2, 3]]


steps = st.lists(st.sampled_from(["data", "control", "error"]), max_size=30)


@given(steps=steps, size=st.integers(1, 5), capacity=st.integers(1, 3), seed=st.integers(0, 3))
@pytest.mark.req("V4")
def test_every_payload_is_handed_over_once_and_in_order(steps, size, capacity, seed):
    kinds = {"data": DATA, "control": CONTROL, "error": ERROR}
    got: list[Any] = []

    def made() -> Any:
        messages = [Message(kinds[step], i) for i, step in enumerate(steps)]
        return graph("g", source(messages) >> via(capacity=capacity) >> BatchConsumer("c", got.append, size))

    report = simulate(made, seed=seed).report
    assert [x for batch in got for x in batch] == [i for i, step in enumerate(steps) if step == "data"]
    assert all(0 < len(batch) <= size for batch in got)
    assert report.errors_total == steps.count("error")


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (
            lambda: DataConsumer("c", None),
            ValueError,
            "DataConsumer 'c': handler must be a function of 1 argument, got None",
        ),
        (lambda: DataConsumer("c", globals), ValueError, "handler .* too many positional"),
        (lambda: DataConsumer("c", asyncio.sleep), ValueError, "asynchronous"),
        (lambda: BatchConsumer("c", 5), ValueError, "BatchConsumer 'c': batch_handler"),
        (lambda: BatchConsumer("c", print, 0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: BatchConsumer("c", print, "2"), TypeError, "batch_size must be a whole number, got '2'"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(made, error, text):
    with pytest.raises(error, match=text):
        made()
