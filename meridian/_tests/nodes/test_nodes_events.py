"""EventAggregator, EventCorrelator and TriggerNode: section 12.5 of v1's contract, in virtual time."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, Node, graph, sink, source, via
from meridian.core.errors import BackpressureError
from meridian.core.message import CONTROL, DATA, ERROR
from meridian.core.scheduler import SchedulerConfig
from meridian.nodes import NodeTestHarness
from meridian.nodes.base import ErrorPolicy, NodeConfig, setup_standard_ports
from meridian.nodes.events import EventAggregator, EventCorrelator, TriggerNode
from meridian.testing import simulate

pytestmark = pytest.mark.req("V11")

HOUR = 3_600_000
RAISING, EMITTING = (NodeConfig(policy) for policy in (ErrorPolicy.RAISE_EXCEPTION, ErrorPolicy.EMIT_ERROR))


class Driven:
    """A node by itself, at a time that is set by hand."""

    def __init__(self, node: Node) -> None:
        self.ms = 0.0
        self.node = node
        node.now = lambda: self.ms / 1000  # type: ignore[method-assign]
        self.harness = NodeTestHarness(node)

    def send(self, *payloads: Any) -> None:
        for payload in payloads:
            self.harness.send_message("input", payload)

    def control(self) -> None:
        self.harness.send_control("input", "flush")

    def tick_at(self, ms: float) -> None:
        self.ms = ms
        self.node.on_tick()

    @property
    def messages(self) -> list[Message[Any]]:
        return self.harness.get_emitted_messages("output")

    @property
    def out(self) -> list[Any]:
        return [message.payload for message in self.messages]


class End(Node):
    """Notes what comes, and when."""

    def __init__(self) -> None:
        super().__init__("end", *setup_standard_ports(["input"], None))
        self.got: list[tuple[float, Any]] = []

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.got.append((round(self.now(), 3), msg.payload))


class Fails:
    """A function that fails as often as told, then returns a copy of what it gets."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    def __call__(self, items: list[Any]) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise KeyError("secret")
        return list(items)


def timed(*steps: tuple[float, Any]) -> Any:
    async def items() -> Any:
        for pause, item in steps:
            await asyncio.sleep(pause)
            yield item

    return source(items())


def aggregator(**kwargs: Any) -> EventAggregator:
    return EventAggregator("a", **{"window_ms": 100, "aggregation_fn": list, **kwargs})


def correlator(**kwargs: Any) -> EventCorrelator:
    defaults = {
        "correlation_fn": lambda x: x[0],
        "completion_predicate": lambda items: len(items) == 2,
        "timeout_ms": 100,
    }
    return EventCorrelator("c", **{**defaults, **kwargs})


# --- EventAggregator


@pytest.mark.v1("L11")
def test_a_window_is_emitted_at_the_first_tick_after_its_time():
    driven = Driven(aggregator())
    driven.send(1, 2)
    driven.tick_at(90)
    assert driven.out == []
    driven.send(3)
    driven.tick_at(100)
    assert driven.out == [[1, 2, 3]]
    driven.tick_at(1000)
    assert driven.out == [[1, 2, 3]]


def test_windows_are_per_key_and_begin_with_the_first_payload_of_theirs():
    driven = Driven(aggregator(key_fn=lambda x: x % 2))
    driven.send(1)
    driven.ms = 50
    driven.send(2, 3)
    driven.tick_at(100)
    assert driven.out == [[1, 3]]
    driven.tick_at(150)
    assert driven.out == [[1, 3], [2]]


def test_the_result_is_what_the_function_makes_of_the_list():
    driven = Driven(aggregator(aggregation_fn=sum))
    driven.send(1, 2, 3)
    driven.tick_at(100)
    assert driven.out == [6]


def test_a_result_of_none_emits_nothing():
    driven = Driven(aggregator(aggregation_fn=lambda items: None))
    driven.send(1)
    driven.tick_at(100)
    assert (driven.out, len(driven.node._groups)) == ([], 0)


def test_control_flushes_all_windows_and_follows_them():
    driven = Driven(aggregator(key_fn=lambda x: x % 2))
    driven.send(1, 2, 3)
    driven.control()
    driven.control()
    assert driven.out == [[1, 3], [2], "flush", "flush"]
    assert [m.type for m in driven.messages] == [DATA, DATA, CONTROL, CONTROL]


@pytest.mark.parametrize("made", [aggregator, correlator])
def test_error_is_forwarded_unchanged_and_flushes_nothing(made):
    driven = Driven(made())
    driven.send("ab")
    error = Message(ERROR, "x")
    driven.node.on_message("input", error)
    assert driven.messages == [error]
    assert driven.messages[0] is error


@pytest.mark.parametrize("made", [aggregator, correlator])
def test_messages_on_other_ports_are_ignored(made):
    driven = Driven(made(input_port="in", output_port="out"))
    driven.send("ab")
    driven.control()
    driven.tick_at(1000)
    assert driven.harness._emitted == {}


@pytest.mark.v1("D59")
def test_a_thousand_keys_leave_nothing_behind():
    driven = Driven(aggregator(key_fn=lambda x: x))
    driven.send(*range(1000))
    driven.control()
    assert len(driven.out) == 1001
    assert len(driven.node._groups) == 0
    driven.send(*range(1000))
    driven.tick_at(100)
    assert len(driven.node._groups) == 0


@pytest.mark.v1("D59")
def test_a_window_whose_function_fails_is_kept_for_another_window_and_grows(records):
    driven = Driven(aggregator(aggregation_fn=Fails(1)))
    driven.send(1, 2)
    driven.tick_at(100)
    assert driven.out == []
    assert [line["error_type"] for line in records("function_node.error")] == ["KeyError"]
    driven.send(3)
    driven.tick_at(199)
    assert driven.out == []
    driven.tick_at(200)
    assert driven.out == [[1, 2, 3]]


@pytest.mark.v1("D59")
def test_a_failure_under_the_raising_policy_is_raised_when_everything_else_is_done():
    fails = Fails(2)
    driven = Driven(aggregator(aggregation_fn=fails, key_fn=lambda x: x, config=RAISING))
    driven.send(1, 2, 3)
    with pytest.raises(KeyError):
        driven.control()
    assert driven.out == [[3], "flush"]
    driven.control()
    assert driven.out == [[3], "flush", [1], [2], "flush"]


@pytest.mark.v1("D59", "D51", "D54")
def test_a_failure_is_emitted_as_an_error_in_the_place_of_the_result():
    driven = Driven(aggregator(aggregation_fn=Fails(1), key_fn=lambda x: x, config=EMITTING))
    driven.send("secret", 2)
    driven.control()
    assert [m.type for m in driven.messages] == [ERROR, DATA, CONTROL]
    assert "secret" not in str(driven.out[0])
    driven.control()
    assert driven.out[3:] == [["secret"], "flush"]


def no_key(x: Any) -> Any:
    if x == "secret":
        raise KeyError(x)
    return x


@pytest.mark.parametrize(
    "made", [lambda **k: aggregator(key_fn=no_key, **k), lambda **k: correlator(correlation_fn=no_key, **k)]
)
@pytest.mark.parametrize("bad", ["secret", ["not hashable"]])
def test_a_message_without_a_key_is_dealt_with_by_the_policy(made, bad, records):
    driven = Driven(made())
    driven.send(bad)
    assert len(records("function_node.error")) == 1
    assert "secret" not in str(records("function_node.error"))
    emitting = Driven(made(config=EMITTING))
    emitting.send(bad)
    assert [m.type for m in emitting.messages] == [ERROR]
    with pytest.raises((KeyError, TypeError)):
        Driven(made(config=RAISING)).send(bad)
    assert len(driven.node._groups) == 0


@pytest.mark.v1("D54")
@pytest.mark.parametrize("made", [aggregator, lambda: correlator(correlation_fn=lambda x: 0)])
def test_what_comes_out_keeps_trace_headers_and_metadata_of_the_last_message(made):
    driven = Driven(made())
    for x in ("a", "b"):
        driven.harness.send_message("input", x, metadata={"m": x}, headers={"trace_id": f"t-{x}", "h": x})
    driven.control()
    out = driven.messages[0]
    assert (out.get_trace_id(), out.headers["h"], out.metadata) == ("t-b", "b", {"m": "b"})


@pytest.mark.v1("D52", "D59")
@pytest.mark.parametrize("made", [aggregator, correlator])
def test_what_an_emit_refuses_is_kept_and_emitted_later(made):
    driven = Driven(made())
    emit = driven.node.emit

    def full(port: str, msg: Message[Any]) -> Any:
        raise BackpressureError("a:output->end:input", 1, "a", port, msg)

    driven.send("ab")
    driven.node.emit = full  # type: ignore[method-assign]
    driven.tick_at(100)
    driven.control()
    assert driven.node.has_pending() is True
    driven.node.emit = emit  # type: ignore[method-assign]
    driven.tick_at(101)
    assert len(driven.out) == 2
    assert driven.out[1] == "flush"


def test_windows_of_hours_close_to_the_millisecond_in_no_time():
    end = End()
    made = EventAggregator("a", HOUR, list)
    simulation = simulate(graph("g", timed((1.5, 1), (10, 2), (3600, 3), (7200, 4)) >> made >> end))
    assert end.got == [(3601.5, [1, 2]), (7211.5, [3]), (10811.5, [4])]
    assert len(simulation.trace) < 40


def test_at_the_end_of_the_input_windows_close_at_once():
    end = End()
    simulation = simulate(graph("g", source(range(5)) >> EventAggregator("a", HOUR, list) >> end))
    assert end.got == [(0, [0, 1, 2, 3, 4])]
    assert simulation.elapsed_s < 1
    assert simulation.report.reason == "finished"


@pytest.mark.req("V8")
@pytest.mark.parametrize(
    "made", [lambda: EventAggregator("a", HOUR, list), lambda: correlator(timeout_ms=HOUR)]
)
def test_a_shutdown_closes_what_is_open(made):
    end = End()
    steps = [(1, f"k{i}") for i in range(100)]
    report = simulate(graph("g", timed(*steps) >> made() >> end), until_s=1.5).report
    assert report.reason == "shutdown"
    assert [at for at, _ in end.got] == [1.5]


@pytest.mark.v1("L1")
def test_an_open_window_does_not_keep_endless_tickers_going():
    class Ticker(Node):
        def _handle_tick(self) -> None:
            self.emit("out", Message(DATA, 1))

    end = End()
    made = graph(
        "g", Ticker("t", *setup_standard_ports(None, ["out"])) >> EventAggregator("a", HOUR, len) >> end
    )
    simulation = simulate(made, config=SchedulerConfig(shutdown_timeout_s=1, tick_interval_ms=100))
    assert simulation.report.reason == "quiet"
    assert simulation.elapsed_s < 1.2
    ((_, count),) = end.got
    assert count in (9, 10)


@pytest.mark.req("V9")
def test_a_function_that_fails_at_the_very_end_is_in_the_report_and_the_next_run_tries_again():
    end = End()
    fails = Fails(1)
    made = EventAggregator("a", 100, fails)
    first = graph("g", source([1, 2]) >> made >> end)
    assert simulate(first).report.errors_total == 1
    assert end.got == []
    simulate(graph("h", timed((0.5, 3)) >> made >> end))
    assert [payload for _, payload in end.got] == [[1, 2], [3]]
    assert end.got[0][0] == 0.1


def test_the_aggregator_takes_its_parameters_in_this_order():
    made = EventAggregator("a", 5, sum, "in", "out", str, RAISING)
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (["in"], ["out"])
    assert made._config is RAISING
    assert [p.name for p in (*aggregator().inputs, *aggregator().outputs)] == ["input", "output"]


def test_a_window_lasts_at_least_a_millisecond():
    end = End()
    simulate(graph("g", timed((1, 1), (1, 2)) >> aggregator(window_ms=0) >> end))
    assert end.got[0] == (1.001, [1])


inputs = st.lists(
    st.tuples(st.integers(0, 250), st.sampled_from([DATA, DATA, DATA, CONTROL, ERROR]), st.integers(0, 2)),
    max_size=14,
)


def all_items(got: list[tuple[float, Any]]) -> list[Any]:
    return [x for _, payload in got if isinstance(payload, (list, dict)) for x in items_of(payload)]


def items_of(payload: Any) -> Any:
    return payload["items"] if isinstance(payload, dict) else payload


@given(
    inputs=inputs,
    failures=st.integers(0, 3),
    policy=st.sampled_from([ErrorPolicy.LOG_AND_CONTINUE, ErrorPolicy.RAISE_EXCEPTION]),
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 1024]),
    seed=st.integers(0, 3),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D52", "D59")
def test_an_aggregator_loses_and_doubles_nothing(inputs, failures, policy, capacity, max_parked, seed):
    end = End()
    fails = Fails(failures)
    made = aggregator(aggregation_fn=fails, key_fn=lambda x: x[0], config=NodeConfig(policy))
    made.max_parked = max_parked

    def build() -> Any:
        steps = [(ms / 1000, Message(kind, (key, i))) for i, (ms, kind, key) in enumerate(inputs)]
        return graph("g", timed(*steps) >> via(capacity=1) >> made >> via(capacity=capacity) >> end)

    report = simulate(build, seed=seed).report
    # What a function that failed at the very end was to get stays for the next run.
    kept = [x for group in made._groups.values() for x in group.items]
    assert kept == [] or failures
    for key in range(3):
        sent = [(key, i) for i, (_, kind, k) in enumerate(inputs) if kind is DATA and k == key]
        assert [x for x in all_items(end.got) + kept if x[0] == key] == sent
    others = [(k, i) for i, (_, kind, k) in enumerate(inputs) if kind is not DATA]
    assert sorted(payload for _, payload in end.got if isinstance(payload, tuple)) == sorted(others)
    assert report.errors_total == min(failures, fails.calls)


# --- EventCorrelator


@pytest.mark.v1("L11")
def test_a_complete_group_is_emitted_at_once():
    driven = Driven(correlator())
    driven.send("a1", "b1", "a2")
    assert driven.out == [{"key": "a", "items": ["a1", "a2"]}]
    driven.send("a3", "b2")
    assert driven.out[1:] == [{"key": "b", "items": ["b1", "b2"]}]


def test_a_group_that_is_late_is_emitted_as_a_timeout():
    driven = Driven(correlator())
    driven.send("a1")
    driven.ms = 60
    driven.send("b1")
    driven.tick_at(99)
    assert driven.out == []
    driven.tick_at(100)
    assert driven.out == [{"key": "a", "items": ["a1"], "timeout": True}]
    driven.tick_at(160)
    assert driven.out[1:] == [{"key": "b", "items": ["b1"], "timeout": True}]


def test_control_flushes_groups_as_timeouts_and_follows_them():
    driven = Driven(correlator())
    driven.send("a1", "b1")
    driven.control()
    assert driven.out == [
        {"key": "a", "items": ["a1"], "timeout": True},
        {"key": "b", "items": ["b1"], "timeout": True},
        "flush",
    ]
    assert driven.messages[2].type is CONTROL


@pytest.mark.v1("D59")
def test_a_correlator_keeps_no_keys():
    driven = Driven(correlator(correlation_fn=lambda x: x // 2))
    driven.send(*range(2001))
    assert (len(driven.out), len(driven.node._groups)) == (1000, 1)
    driven.control()
    assert len(driven.node._groups) == 0


@pytest.mark.v1("D59")
def test_a_group_whose_predicate_fails_is_kept(records):
    predicate = Fails(1)
    driven = Driven(correlator(completion_predicate=lambda items: predicate(items) and len(items) == 2))
    driven.send("a1")
    assert [line["error_type"] for line in records("function_node.error")] == ["KeyError"]
    driven.send("a2")
    assert driven.out == [{"key": "a", "items": ["a1", "a2"]}]


@pytest.mark.parametrize("config", [RAISING, EMITTING])
def test_a_predicate_that_fails_follows_the_policy_and_the_group_ends_by_its_timeout(config):
    def fails(items: Any) -> Any:
        raise KeyError("secret")

    driven = Driven(correlator(completion_predicate=fails, config=config))
    if config is RAISING:
        with pytest.raises(KeyError):
            driven.send("a1")
    else:
        driven.send("a1")
    driven.tick_at(100)
    assert [m.type for m in driven.messages] == ([DATA] if config is RAISING else [ERROR, DATA])
    assert driven.out[-1] == {"key": "a", "items": ["a1"], "timeout": True}


def test_timeouts_of_hours_come_to_the_millisecond_in_no_time():
    end = End()
    made = correlator(timeout_ms=HOUR)
    simulate(graph("g", timed((1, "a1"), (10, "b1"), (20, "b2"), (9000, "c1")) >> made >> end))
    assert end.got == [
        (31, {"key": "b", "items": ["b1", "b2"]}),
        (3601, {"key": "a", "items": ["a1"], "timeout": True}),
        (9031, {"key": "c", "items": ["c1"], "timeout": True}),
    ]


def test_the_correlator_takes_its_parameters_in_this_order():
    made = EventCorrelator("c", str, len, 5, "in", "out", RAISING)
    assert ([p.name for p in made.inputs], [p.name for p in made.outputs]) == (["in"], ["out"])
    assert made._config is RAISING


@given(
    inputs=inputs,
    size=st.integers(1, 4),
    capacity=st.integers(1, 2),
    max_parked=st.sampled_from([0, 1, 1024]),
    seed=st.integers(0, 3),
)
@pytest.mark.req("V4")
@pytest.mark.v1("D52", "D59")
def test_a_correlator_loses_and_doubles_nothing(inputs, size, capacity, max_parked, seed):
    end = End()

    def build() -> Any:
        steps = [(ms / 1000, Message(kind, (key, i))) for i, (ms, kind, key) in enumerate(inputs)]
        made = correlator(completion_predicate=lambda items: len(items) == size)
        made.max_parked = max_parked
        return graph("g", timed(*steps) >> via(capacity=1) >> made >> via(capacity=capacity) >> end)

    simulate(build, seed=seed)
    for key in range(3):
        sent = [(key, i) for i, (_, kind, k) in enumerate(inputs) if kind is DATA and k == key]
        assert [x for x in all_items(end.got) if x[0] == key] == sent
    groups = [payload for _, payload in end.got if isinstance(payload, dict)]
    assert all(("timeout" in group) is (len(group["items"]) < size) for group in groups)
    others = [(k, i) for i, (_, kind, k) in enumerate(inputs) if kind is not DATA]
    assert sorted(payload for _, payload in end.got if isinstance(payload, tuple)) == sorted(others)


# --- TriggerNode


def trigger(answers: Any, **kwargs: Any) -> TriggerNode:
    feed = iter(answers)

    def condition() -> Any:
        answer = next(feed, False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return TriggerNode("t", condition, "now", **kwargs)


@pytest.mark.v1("L11")
def test_a_trigger_emits_its_payload_whenever_the_condition_becomes_true():
    driven = Driven(trigger([True, True, 0, 1, "yes", None, True]))
    for i in range(7):
        driven.tick_at(1000 * i)
    assert driven.out == ["now"] * 3
    assert {m.type for m in driven.messages} == {DATA}


def test_a_trigger_checks_at_the_first_tick_and_then_at_most_every_interval():
    asked: list[float] = []
    driven = Driven(TriggerNode("t", lambda: asked.append(driven.ms), check_interval_ms=100))
    for ms in range(0, 1000, 30):
        driven.tick_at(ms)
    assert asked[0] == 0
    assert all(b - a >= 89 for a, b in pairwise(asked))
    assert 9 <= len(asked) <= 10


def test_the_payload_is_none_unless_told_otherwise():
    driven = Driven(TriggerNode("t", lambda: True))
    driven.tick_at(0)
    assert driven.out == [None]


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_an_exception_counts_as_false_under_every_policy_and_is_told(policy, records):
    driven = Driven(trigger([True, KeyError("secret"), True, ValueError()], config=NodeConfig(policy)))
    for i in range(4):
        driven.tick_at(1000 * i)
    assert driven.out == ["now", "now"]
    (line,) = records("trigger.error")  # at most one a second of the machine's time
    assert (line["node"], line["error_type"]) == ("t", "KeyError")
    assert "secret" not in str(line)


@pytest.mark.req("V9")
def test_an_exception_of_the_condition_is_in_the_report():
    made = trigger([KeyError("secret"), True], check_interval_ms=100)
    report = simulate(graph("g", made >> End()), until_s=1).report
    assert [(e.node, e.type, e.message) for e in report.errors] == [("t", "KeyError", "[redacted]")]


def test_a_result_without_a_truth_counts_as_false():
    class Vague:
        def __bool__(self) -> bool:
            raise ValueError

    driven = Driven(trigger([Vague(), True]))
    driven.tick_at(0)
    assert driven.out == []
    driven.tick_at(1000)
    assert driven.out == ["now"]


@pytest.mark.parametrize("interval", [7, 100, 250])
def test_in_a_run_checks_come_at_the_interval_and_not_at_ticks(interval):
    end = End()
    made = trigger([True, False] * 500, check_interval_ms=interval)
    simulate(graph("g", made >> end), until_s=3, config=SchedulerConfig(tick_interval_ms=20))
    at = [at for at, _ in end.got]
    assert at[0] == 0
    assert [b - a for a, b in pairwise(at)] == pytest.approx(
        [2 * interval / 1000] * (len(at) - 1), abs=0.0011
    )
    assert len(at) == pytest.approx(3000 / interval / 2, abs=1)


@pytest.mark.v1("L1")
def test_a_trigger_never_ends_by_itself_and_does_not_keep_a_run_going():
    simulation = simulate(graph("g", trigger([]) >> End()), config=SchedulerConfig(shutdown_timeout_s=2))
    assert simulation.report.reason == "quiet"
    assert simulation.elapsed_s == pytest.approx(2, abs=0.1)


def test_each_start_begins_with_false():
    end = End()
    made = TriggerNode("t", lambda: True, "now", 100)
    simulate(graph("g", made >> end), until_s=1)
    simulate(graph("h", made >> sink(lambda x: end.got.append((0, x)))), until_s=1)
    assert len(end.got) == 2


@pytest.mark.v1("D52")
def test_a_trigger_whose_emit_is_refused_emits_later():
    driven = Driven(trigger([True, False, False]))
    emit = driven.node.emit

    def full(port: str, msg: Message[Any]) -> Any:
        raise BackpressureError("t:output->end:input", 1, "t", port, msg)

    driven.node.emit = full  # type: ignore[method-assign]
    driven.tick_at(0)
    driven.tick_at(1000)
    driven.node.emit = emit  # type: ignore[method-assign]
    driven.tick_at(2000)
    assert driven.out == ["now"]


def test_the_trigger_takes_its_parameters_in_this_order():
    made = TriggerNode("t", bool, 1, 5, "out", RAISING)
    assert (made.inputs, [p.name for p in made.outputs], made._config) == ([], ["out"], RAISING)
    assert [p.name for p in trigger([]).outputs] == ["output"]


# --- parameters


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (
            lambda: EventAggregator("a", "1 s", len),
            TypeError,
            "EventAggregator 'a': window_ms must be a number, got '1 s'",
        ),
        (
            lambda: EventAggregator("a", math.nan, len),
            ValueError,
            "window_ms must be a finite number, got nan",
        ),
        (
            lambda: EventAggregator("a", 5, None),
            ValueError,
            "aggregation_fn must be a function of 1 argument",
        ),
        (
            lambda: EventAggregator("a", 5, len, key_fn=5),
            ValueError,
            "key_fn must be a function of 1 argument, got 5",
        ),
        (lambda: EventCorrelator("c", None, len, 5), ValueError, "EventCorrelator 'c': correlation_fn"),
        (lambda: EventCorrelator("c", str, None, 5), ValueError, "completion_predicate"),
        (lambda: EventCorrelator("c", str, len, None), TypeError, "timeout_ms must be a number, got None"),
        (
            lambda: TriggerNode("t", None),
            ValueError,
            "TriggerNode 't': trigger_fn must be a function of 0 arguments",
        ),
        (lambda: TriggerNode("t", bool, 1, "5"), TypeError, "check_interval_ms must be a number, got '5'"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(made, error, text):
    with pytest.raises(error, match=text):
        made()
