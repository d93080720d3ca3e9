"""Throttle, circuit breaker, retry, timeout: exact in the run's time, bounded, and without loss."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian import Scheduler, graph, sink, source, via
from meridian._tests.nodes.parts import payloads
from meridian.core.message import DATA, ERROR, Message
from meridian.core.policies import ErrorPolicy
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes.base import NodeConfig
from meridian.nodes.flow_control import (
    BackoffStrategy,
    CircuitBreakerNode,
    CircuitState,
    RateLimitAlgorithm,
    RetryNode,
    ThrottleNode,
    TimeoutAction,
    TimeoutNode,
)
from meridian.testing import NodeTestHarness, simulate

pytestmark = [pytest.mark.req("V11", "V15"), pytest.mark.usefixtures("engine")]


class Time:
    """A clock that a test sets by hand, for nodes without a run."""

    def __init__(self, node: Any) -> None:
        self.s = 0.0
        node.now = lambda: self.s


def run(flows: Any, **config: Any) -> Any:
    scheduler = Scheduler(SchedulerConfig(**config))
    scheduler.register(graph("g", *flows))

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await scheduler.run_async()

    return asyncio.run(bounded())


# --- ThrottleNode


def test_a_throttle_releases_one_message_per_whole_token_and_starts_full():
    node = ThrottleNode("t", rate_limit=2)
    time, harness = Time(node), NodeTestHarness(node)
    for i in range(6):
        harness.send_message("input", i)
    harness.trigger_tick()
    assert payloads(harness) == [0, 1]
    time.s = 0.49
    harness.trigger_tick()
    assert payloads(harness) == [0, 1]
    time.s = 0.5
    harness.trigger_tick()
    assert payloads(harness) == [0, 1, 2]
    time.s = 60
    harness.trigger_tick()
    assert payloads(harness) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("rate", "burst", "first"), [(0.5, None, 1), (3.9, None, 3), (1, 5, 5), (100, 1, 1)])
def test_the_bucket_is_as_large_as_told_or_as_a_second_brings_but_at_least_one(rate, burst, first):
    node = ThrottleNode("t", rate, burst_size=burst)
    Time(node)
    harness = NodeTestHarness(node)
    for i in range(20):
        harness.send_message("input", i)
    harness.trigger_tick()
    assert len(payloads(harness)) == first


def test_control_and_errors_pass_a_throttle_at_once():
    node = ThrottleNode("t", 1)
    Time(node)
    harness = NodeTestHarness(node)
    harness.send_message("input", 1)
    harness.send_control("input", "c")
    harness.send_error("input", "e")
    assert payloads(harness) == ["c", "e"]


@pytest.mark.req("V4")
@pytest.mark.v1("D67", "D52")
@pytest.mark.parametrize("capacity", [1, 3])
def test_a_throttle_holds_little_so_that_its_producer_waits_and_nothing_is_lost(capacity):
    produced: list[float] = []

    async def items() -> Any:
        for i in range(20):
            produced.append(asyncio.get_running_loop().time())
            yield i

    got: list[int] = []
    node = ThrottleNode("t", rate_limit=10, burst_size=2)
    flow = source(items()) >> via(capacity=capacity) >> node >> via(capacity=1) >> sink(got.append)
    simulation = simulate(graph("g", flow))
    assert got == list(range(20))
    assert simulation.elapsed_s == pytest.approx(1.8, abs=0.001)
    assert produced[-1] - produced[0] >= 1.19  # what it holds and the edge's room ahead, no more


def test_a_throttle_is_exact_however_rarely_the_scheduler_ticks():
    at: list[float] = []

    def keep(x: int) -> None:
        at.append(round(asyncio.get_running_loop().time() % 1000, 3))

    flow = source(range(4)) >> ThrottleNode("t", rate_limit=4, burst_size=1) >> sink(keep)
    simulate(graph("g", flow), config=SchedulerConfig(tick_interval_ms=10_000))
    assert [round(t - at[0], 3) for t in at] == [0, 0.25, 0.5, 0.75]


def test_a_fast_throttle_costs_no_time_beyond_its_rate():
    got: list[int] = []
    flow = source(range(5000)) >> ThrottleNode("t", rate_limit=1000, burst_size=1) >> sink(got.append)
    assert simulate(graph("g", flow)).elapsed_s == pytest.approx(4.999, abs=0.01)
    assert got == list(range(5000))


def test_a_throttle_goes_on_at_its_rate_during_a_shutdown():
    async def endless() -> Any:
        x = 0
        while True:
            yield x
            x += 1

    got: list[int] = []
    flow = source(endless()) >> via(capacity=1) >> ThrottleNode("t", 1, burst_size=1) >> sink(got.append)
    simulation = simulate(graph("g", flow), until_s=2.5, config=SchedulerConfig(shutdown_timeout_s=100))
    assert got == list(range(len(got)))
    assert simulation.report.left == {}


@pytest.mark.req("V7")
@settings(max_examples=40)
@given(
    n=st.integers(0, 30),
    rate=st.floats(0.1, 1e6),
    burst=st.none() | st.integers(1, 100),
    capacity=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_a_throttle_never_loses_repeats_or_reorders_and_keeps_its_rate(n, rate, burst, capacity, seed):
    got: list[int] = []
    node = ThrottleNode("t", rate, burst_size=burst)
    flow = source(range(n)) >> via(capacity=capacity) >> node >> via(capacity=capacity) >> sink(got.append)
    simulation = simulate(graph("g", flow), seed=seed)
    assert got == list(range(n))
    size = burst or max(1, int(rate))
    assert simulation.elapsed_s >= (n - size - 1) / rate - 1e-3


# --- CircuitBreakerNode


def state(node: CircuitBreakerNode) -> CircuitState:
    return node.state  # through a function: type checkers believe that an attribute stays as it was


def test_a_breaker_opens_at_the_threshold_and_refuses_data_with_an_error_of_the_same_trace():
    node = CircuitBreakerNode("b", failure_threshold=2)
    Time(node)
    harness = NodeTestHarness(node)
    harness.send_message("input", 1)
    harness.send_error("input", "one")
    assert state(node) is CircuitState.CLOSED
    harness.send_error("input", "two")
    assert state(node) is CircuitState.OPEN
    harness.send_message("input", 2, headers={"trace_id": "t"})
    kinds = [message.type for message in harness.get_emitted_messages("output")]
    refused = harness.get_emitted_messages("output")[-1]
    assert kinds == [DATA, ERROR, ERROR, ERROR]
    assert (refused.payload["error_message"], refused.get_trace_id()) == ("circuit_open", "t")
    assert 2 not in refused.payload.values()


def test_a_breaker_is_on_trial_after_its_recovery_time_and_closes_after_enough_successes():
    node = CircuitBreakerNode("b", failure_threshold=1, recovery_timeout_ms=1000, success_threshold=2)
    time, harness = Time(node), NodeTestHarness(node)
    harness.send_error("input", "e")
    time.s = 0.999
    harness.trigger_tick()
    assert state(node) is CircuitState.OPEN
    time.s = 1.0
    harness.trigger_tick()
    assert state(node) is CircuitState.HALF_OPEN
    harness.send_message("input", 1)
    assert state(node) is CircuitState.HALF_OPEN
    harness.send_message("input", 2)
    assert state(node) is CircuitState.CLOSED
    assert payloads(harness)[1:] == [1, 2]


def test_one_error_on_trial_opens_the_breaker_again():
    node = CircuitBreakerNode("b", failure_threshold=3, recovery_timeout_ms=1, success_threshold=2)
    time = Time(node)
    harness = NodeTestHarness(node)
    for _ in range(3):
        harness.send_error("input", "e")
    time.s = 0.001
    harness.trigger_tick()
    assert state(node) is CircuitState.HALF_OPEN
    harness.send_error("input", "e")
    assert state(node) is CircuitState.OPEN


def test_a_data_message_that_wraps_a_message_is_taken_for_it():
    node = CircuitBreakerNode("b", failure_threshold=1)
    harness = NodeTestHarness(node)
    inner = Message(ERROR, "e")
    harness.send_message("input", inner)
    assert node.state is CircuitState.OPEN
    assert harness.get_emitted_messages("output") == [inner]


def test_control_passes_an_open_breaker():
    node = CircuitBreakerNode("b", failure_threshold=1)
    harness = NodeTestHarness(node)
    harness.send_error("input", "e")
    harness.send_control("input", "c")
    assert harness.get_emitted_messages("output")[-1].payload == "c"


def test_an_open_breaker_recovers_exactly_in_time_and_does_not_keep_a_run_alive():
    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append((msg.type, msg.payload if msg.type is DATA else None))

    async def items() -> Any:
        yield Message(ERROR, "down")
        yield 1
        await asyncio.sleep(5.001)
        yield 2

    node = CircuitBreakerNode("b", failure_threshold=1, recovery_timeout_ms=5000, success_threshold=1)
    simulation = simulate(
        graph("g", source(items()) >> node >> sink(keep)), config=SchedulerConfig(tick_interval_ms=3_600_000)
    )
    assert got == [(ERROR, None), (ERROR, None), (DATA, 2)]
    assert (simulation.report.reason, node.state) == ("finished", CircuitState.CLOSED)
    again = CircuitBreakerNode("b", failure_threshold=1, recovery_timeout_ms=3_600_000)
    assert simulate(graph("g", source([Message(ERROR, "e")]) >> again)).elapsed_s < 1


# --- RetryNode


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        (BackoffStrategy.EXPONENTIAL, [0.01, 0.02, 0.04]),
        (BackoffStrategy.LINEAR, [0.01, 0.02, 0.03]),
        (BackoffStrategy.FIXED, [0.01, 0.01, 0.01]),
    ],
)
def test_a_retry_waits_as_its_strategy_says_and_gives_up_after_the_last_attempt(strategy, waits):
    at: list[float] = []

    def fails(x: int) -> int:
        at.append(asyncio.get_running_loop().time())
        raise ValueError("secret")

    node = RetryNode("r", fails, max_retries=4, backoff_strategy=strategy)
    dead: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        dead.append(msg)

    came = Message(DATA, 7, None, {"trace_id": "t"})
    report = simulate(graph("g", source([came]) >> node["input"], node["dead_letter"] >> sink(keep))).report
    assert [round(b - a, 6) for a, b in pairwise(at)] == waits
    assert [(msg.type, msg.get_trace_id(), msg.payload["error_type"]) for msg in dead] == [
        (ERROR, "t", "ValueError")
    ]
    assert dead[0].payload["context"] == {"node": "r", "attempts": 4}
    assert "secret" not in str(dead[0].payload) + str(report)
    assert report.errors_total == 1


def test_a_message_that_failed_for_good_is_in_the_log_without_its_payload_wherever_the_port_leads(records):
    def fail(payload: Any) -> Any:
        raise ValueError(f"no {payload}")

    node = RetryNode("r", fail, max_retries=2)
    report = simulate(graph("g", source(["secret"] * 3) >> node["input"])).report
    logged = records("retry.gave_up")
    assert [line["suppressed"] for line in logged] == [0, 2]  # at most one a second, and the rest at the end
    assert (logged[0]["level"], logged[0]["node"], logged[0]["attempts"]) == ("WARN", "r", 2)
    assert logged[0]["error_type"] == "ValueError"
    assert "secret" not in str(logged)
    assert [each.unrouted for each in report.nodes if each.name == "r"] == [3]


def test_max_retries_counts_all_attempts_and_none_as_result_emits_nothing():
    calls: list[int] = []

    def nothing(x: int) -> None:
        calls.append(x)

    node = RetryNode("r", nothing)
    harness = NodeTestHarness(node)
    harness.send_message("input", 1)
    assert calls == []
    harness.trigger_tick()
    assert (calls, payloads(harness), payloads(harness, "dead_letter")) == ([1], [], [])


@pytest.mark.v1("L11")
def test_a_retry_works_by_ticks_in_the_harness():
    node = RetryNode("r", lambda x: 1 // x, max_retries=2, dead_letter_port="dead")
    time, harness = Time(node), NodeTestHarness(node)
    harness.send_message("input", 0)
    harness.send_message("input", 1)
    harness.trigger_tick()
    assert payloads(harness) == []
    time.s = 0.01
    harness.trigger_tick()
    assert payloads(harness) == [1]
    assert [msg.type for msg in harness.get_emitted_messages("dead")] == [ERROR]


@pytest.mark.v1("D68", "D52")
@pytest.mark.req("V4")
def test_a_full_output_is_no_failure_of_the_handler():
    calls: list[int] = []

    def counts(x: int) -> int:
        calls.append(x)
        return x

    got: list[int] = []
    node = RetryNode("r", counts, max_retries=1)

    async def slow(x: int) -> None:
        await asyncio.sleep(1)
        got.append(x)

    flow = source(range(200)) >> node["input"], node["output"] >> via(capacity=1) >> sink(slow)
    report = simulate(graph("g", *flow)).report
    assert (calls, got, report.errors_total) == (list(range(200)), list(range(200)), 0)


@pytest.mark.v1("D68")
def test_an_emit_that_is_refused_is_tried_again_without_calling_the_handler_again():
    calls: list[int] = []

    def counts(x: int) -> int:
        calls.append(x)
        return x

    node = RetryNode("r", counts)
    refuse = [True]
    emitted: list[Any] = []

    def emit(port: str, msg: Message[Any]) -> Message[Any]:
        if refuse:
            refuse.clear()
            raise RuntimeError("Backpressure: Edge e is full (capacity: 1)")
        emitted.append((port, msg.payload))
        return msg

    node.emit = emit  # type: ignore[method-assign]
    node.on_message("input", Message(DATA, 1))
    with pytest.raises(RuntimeError, match="Backpressure"):
        node.on_tick()
    node.on_tick()
    assert (calls, emitted) == ([1], [("output", 1)])


@pytest.mark.req("V7")
@settings(max_examples=40)
@given(
    fails=st.lists(st.integers(0, 4), max_size=15),
    most=st.integers(1, 4),
    capacity=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_whatever_fails_how_often_each_message_ends_in_one_place_and_in_order(fails, most, capacity, seed):
    left = dict(enumerate(fails))

    def handle(i: int) -> int:
        left[i] -= 1
        if left[i] >= 0:
            raise ValueError
        return i

    good: list[int] = []
    dead: list[Any] = []

    def bury(msg: Message[Any]) -> None:
        dead.append(msg.payload["context"]["attempts"])

    node = RetryNode("r", handle, max_retries=most)
    simulate(
        graph(
            "g",
            source(range(len(fails))) >> via(capacity=capacity) >> node["input"],
            node["output"] >> via(capacity=capacity) >> sink(good.append),
            node["dead_letter"] >> via(capacity=capacity) >> sink(bury),
        ),
        seed=seed,
    )
    assert good == [i for i, n in enumerate(fails) if n < most]
    assert dead == [most] * sum(n >= most for n in fails)


def test_control_passes_what_is_being_retried():
    node = RetryNode("r", lambda x: 1 // 0)
    harness = NodeTestHarness(node)
    harness.send_message("input", 1)
    harness.send_control("input", "c")
    assert payloads(harness) == ["c"]


# --- TimeoutNode


def wait_until_idle(node: TimeoutNode) -> None:
    """Wait for the thread in work, if there is one."""
    for thread in threading.enumerate():
        if thread.name == "meridian-timeout":
            thread.join(10)


def test_a_result_in_time_leaves_at_the_next_tick():
    node = TimeoutNode("t", lambda x: x + 1)
    harness = NodeTestHarness(node)
    harness.send_message("input", 1)
    wait_until_idle(node)
    harness.trigger_tick()
    assert payloads(harness) == [2]


@pytest.mark.parametrize("action", list(TimeoutAction))
def test_after_the_deadline_an_error_leaves_or_nothing_and_a_late_result_is_ignored(action):
    release = threading.Event()

    def slow(x: int) -> int:
        assert release.wait(10)
        return x

    node = TimeoutNode("t", slow, timeout_ms=100, timeout_action=action)
    time, harness = Time(node), NodeTestHarness(node)
    harness.send_message("input", 1, headers={"trace_id": "t"})
    time.s = 0.099
    harness.trigger_tick()
    assert harness.get_emitted_messages("output") == []
    time.s = 0.1
    harness.trigger_tick()
    release.set()
    wait_until_idle(node)
    harness.trigger_tick()
    got = harness.get_emitted_messages("output")
    if action is TimeoutAction.DROP:
        assert got == []
    else:
        assert [(msg.type, msg.payload["error_message"], msg.get_trace_id()) for msg in got] == [
            (ERROR, "timeout", "t")
        ]


def test_a_result_that_comes_after_the_deadline_but_before_the_tick_is_late():
    node = TimeoutNode("t", lambda x: advance() or x, timeout_ms=100)
    time, harness = Time(node), NodeTestHarness(node)

    def advance() -> None:
        time.s = 5.0

    harness.send_message("input", 1)
    wait_until_idle(node)
    harness.trigger_tick()
    assert [msg.type for msg in harness.get_emitted_messages("output")] == [ERROR]


@pytest.mark.v1("D69")
def test_inputs_that_arrive_while_one_is_in_work_are_kept():
    node = TimeoutNode("t", lambda x: x)
    harness = NodeTestHarness(node)
    for i in range(3):
        harness.send_message("input", i)
    for _ in range(3):
        wait_until_idle(node)
        harness.trigger_tick()
    assert payloads(harness) == [0, 1, 2]


@pytest.mark.v1("D69")
@pytest.mark.req("V4")
def test_in_a_run_inputs_wait_on_their_edge_and_none_is_lost():
    got: list[int] = []
    node = TimeoutNode("t", lambda x: x)
    report = run([source(range(50)) >> via(capacity=2) >> node >> via(capacity=1) >> sink(got.append)])
    assert (got, report.reason) == (list(range(50)), "finished")


def test_a_handler_that_hangs_is_given_up_and_the_next_message_is_worked_on():
    release = threading.Event()

    def hangs(x: int) -> int:
        if x == 0:
            release.wait(20)
        return x

    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append(msg.type if msg.type is ERROR else msg.payload)

    report = run([source(range(3)) >> TimeoutNode("t", hangs, timeout_ms=30) >> sink(keep)])
    release.set()
    assert (got, report.reason) == ([ERROR, 1, 2], "finished")


@pytest.mark.req("V9")
def test_a_failing_handler_follows_the_error_policy_and_its_text_stays_inside():
    def fails(x: int) -> int:
        raise ValueError("secret")

    got: list[Any] = []

    def keep(msg: Message[Any]) -> None:
        got.append(msg.payload)

    node = TimeoutNode("t", fails, config=NodeConfig(ErrorPolicy.EMIT_ERROR))
    report = run([source([1]) >> node >> sink(keep)])
    assert [(payload["error_type"], payload["error_message"]) for payload in got] == [
        ("ValueError", "[redacted]")
    ]
    assert report.errors_total == 1


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (lambda: ThrottleNode("n", 0), ValueError, "rate_limit must be above 0, got 0"),
        (lambda: ThrottleNode("n", float("nan")), ValueError, "rate_limit"),
        (lambda: ThrottleNode("n", "fast"), TypeError, "rate_limit must be a number, got 'fast'"),
        (lambda: ThrottleNode("n", 1, burst_size=0), ValueError, "burst_size must be at least 1, got 0"),
        (lambda: ThrottleNode("n", 1, "leaky"), ValueError, "leaky"),
        (lambda: CircuitBreakerNode("n", 0), ValueError, "failure_threshold"),
        (lambda: CircuitBreakerNode("n", recovery_timeout_ms="1"), TypeError, "recovery_timeout_ms"),
        (lambda: CircuitBreakerNode("n", success_threshold=0), ValueError, "success_threshold"),
        (lambda: RetryNode("n", None), ValueError, "function"),
        (lambda: RetryNode("n", str, 0), ValueError, "max_retries must be at least 1, got 0"),
        (lambda: RetryNode("n", str, backoff_strategy="soon"), ValueError, "soon"),
        (
            lambda: TimeoutNode("n", str, float("inf")),
            ValueError,
            "timeout_ms must be a finite number, got inf",
        ),
        (lambda: TimeoutNode("n", str, timeout_action="panic"), ValueError, "panic"),
    ],
)
def test_wrong_parameters_are_refused_with_their_names(made, error, says):
    with pytest.raises(error, match=says):
        made()


def test_enums_may_be_given_by_value_and_other_ports_are_ignored():
    nodes = [
        ThrottleNode("n", 1, RateLimitAlgorithm("token_bucket")),
        CircuitBreakerNode("n"),
        RetryNode("n", str, backoff_strategy="fixed"),  # type: ignore[arg-type]
        TimeoutNode("n", str, timeout_action="drop"),  # type: ignore[arg-type]
    ]
    for node in nodes:
        harness = NodeTestHarness(node)
        harness.send_message("elsewhere", 1)
        harness.send_control("elsewhere", 1)
        harness.trigger_tick()
        assert payloads(harness) == []


@pytest.mark.parametrize(
    "make",
    [lambda: ThrottleNode("n", 1000, burst_size=3), lambda: RetryNode("n", lambda x: x)],
    ids=["throttle", "retry"],
)
@pytest.mark.parametrize("showed_s", [0.0, 1e12])
def test_what_a_run_before_left_waiting_goes_on_in_the_next_one_whatever_its_clock_showed(
    monkeypatch, make, showed_s
):
    monkeypatch.setattr(time, "monotonic", lambda: showed_s)
    node = make()
    harness = NodeTestHarness(node)
    for n in range(2):
        harness.send_message("input", n)  # no tick: they wait
    monkeypatch.undo()
    got: list[Any] = []
    simulate(graph("g", source([2]) >> node["input"], node["output"] >> sink(got.append)))
    assert got == [0, 1, 2]


@pytest.mark.req("V8")
def test_a_stop_that_is_cut_off_says_what_waits_for_the_next_run(records):
    got: list[int] = []
    throttle = ThrottleNode("t", 1, burst_size=1)
    made = graph("g", source(range(3), name="s") >> throttle >> sink(got.append))
    simulate(made, until_s=0.5, config=SchedulerConfig(shutdown_timeout_s=0.1))
    assert got == [0]
    assert [(record["node"], record["n"]) for record in records("function_node.kept")] == [("t", 1)]
