"""Nodes that watch: sums per window, health, alerts, samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, graph, sink, source
from meridian._tests.nodes.parts import EMITS, RAISES, Watch, payloads, run
from meridian.nodes.base import NodeConfig
from meridian.nodes.monitoring import (
    AlertingNode,
    HealthCheckNode,
    MetricsCollectorNode,
    SamplingNode,
    SamplingStrategy,
)
from meridian.observability.metrics import PrometheusConfig, PrometheusMetrics, configure_metrics
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")


WRONG: Any = 1
"""What a type checker lets pass."""


NODES = {
    "metrics": lambda: MetricsCollectorNode("n", {"size": len}),
    "alerts": lambda: AlertingNode("n", [lambda payload: "alert"]),
    "samples": lambda: SamplingNode("n", 0.0),
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_control_and_error_are_forwarded_as_they_are(make):
    harness = NodeTestHarness(make())
    harness.send_control("input", "go")
    harness.send_error("input", {"why": 1})
    assert [(m.type.value, m.payload) for m in harness.get_emitted_messages("output")] == [
        ("CONTROL", "go"),
        ("ERROR", {"why": 1}),
    ]


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_messages_on_other_ports_are_ignored(make):
    harness = NodeTestHarness(make())
    harness.send_message("elsewhere", "a")
    harness.send_control("elsewhere")
    harness.node.on_drain()
    assert payloads(harness) == []


# --- metrics


@pytest.mark.v1("L11")
def test_the_first_tick_of_a_harness_emits_what_has_come_and_later_ones_wait_for_the_window():
    harness = NodeTestHarness(MetricsCollectorNode("n", {"size": len, "double": lambda text: 2 * len(text)}))
    harness.send_message("input", "abc")
    harness.send_message("input", "d")
    harness.trigger_tick()
    assert payloads(harness) == [{"count": 2, "size": 4.0, "double": 8.0}]
    harness.send_message("input", "e")
    harness.trigger_tick()
    assert len(payloads(harness)) == 1


def test_nothing_is_emitted_where_nothing_came():
    harness = NodeTestHarness(MetricsCollectorNode("n", {"size": len}))
    harness.trigger_tick()
    harness.node.on_drain()
    assert payloads(harness) == []


def test_in_a_run_a_window_closes_exactly_after_its_length_and_sums_begin_anew():
    made = MetricsCollectorNode("n", {"sum": float}, aggregation_window_ms=1000)
    watch, _ = run(made, (0.25, 1), (0.5, 2), (5, 3), (7.5, 4))
    assert watch.got == [
        (1.25, {"count": 2, "sum": 3.0}),
        (6, {"count": 1, "sum": 3.0}),
        (7.5, {"count": 1, "sum": 4.0}),  # the end of the run
    ]


def test_what_an_extractor_can_not_read_counts_nothing_and_is_reported_without_the_payload():
    watch, simulation = run(
        MetricsCollectorNode("n", {"size": len, "one": lambda payload: 1}), (0, 5), (0, "secret")
    )
    assert watch.payloads == [{"count": 2, "size": 6.0, "one": 2.0}]
    assert [(error.node, error.type) for error in simulation.report.errors] == [("n", "TypeError")]


def test_sums_become_gauges_of_whichever_metrics_are_configured_then():
    made = MetricsCollectorNode("n", {"size": len})
    metrics = PrometheusMetrics(PrometheusConfig(namespace="t"))
    configure_metrics(metrics)
    run(made, (0, "abc"), (0, "d"))
    assert metrics.get_all_gauges()["t_custom_metric_size{node=n}"].value == 4.0


@pytest.mark.req("V4")
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(-5, 5)), max_size=25),
    st.sampled_from([1, 100]),
    st.integers(0, 5),
)
def test_sums_and_counts_add_up_to_everything(steps, capacity, seed):
    now, feed = 0, []
    for wait, value in steps:
        now += wait
        feed.append((now / 10, value))
    made = MetricsCollectorNode("n", {"sum": float}, aggregation_window_ms=1000)
    watch, _ = run(made, *feed, capacity=capacity, seed=seed)
    assert sum(each["count"] for each in watch.payloads) == len(steps)
    assert sum(each["sum"] for each in watch.payloads) == sum(value for _, value in steps)


def test_what_a_collector_held_when_a_run_was_aborted_comes_in_the_next_one():
    made = MetricsCollectorNode("n", {}, aggregation_window_ms=1000)
    NodeTestHarness(made).send_message("input", 1)
    watch, _ = run(made, (5, 2))
    assert watch.got == [(1, {"count": 1}), (5, {"count": 1})]


# --- health


def test_all_checks_are_asked_and_one_that_raises_is_not_well():
    asked: list[int] = []

    def fail() -> bool:
        asked.append(1)
        raise ValueError("secret")

    harness = NodeTestHarness(HealthCheckNode("n", [lambda: True, fail, lambda: 0]))
    harness.trigger_tick()
    assert payloads(harness) == [{"healthy": False, "checks": [True, False, False]}]
    assert asked == [1]


def test_all_well_is_healthy_and_so_is_nothing_to_ask():
    for checks in ([lambda: True, lambda: "yes"], []):
        harness = NodeTestHarness(HealthCheckNode("n", checks))
        harness.trigger_tick()
        assert payloads(harness) == [{"healthy": True, "checks": [True] * len(checks)}]


@pytest.mark.v1("L11")
def test_a_harness_is_told_at_the_first_tick_and_then_after_the_interval(monkeypatch: pytest.MonkeyPatch):
    made = HealthCheckNode("n", [], check_interval_ms=1000)
    now = 50.0
    monkeypatch.setattr(made, "now", lambda: now)
    harness = NodeTestHarness(made)
    counts = []
    for now in (50.0, 50.5, 51.0, 51.1, 52.0, 57.0, 57.5, 58.0):  # noqa: B007 - read by the node
        harness.trigger_tick()
        counts.append(len(payloads(harness)))
    assert counts == [1, 1, 2, 2, 3, 4, 4, 5]


@pytest.mark.v1("L1")
def test_health_is_told_at_the_start_and_exactly_every_interval_until_v1s_quiet_moment():
    watch = Watch()
    made = HealthCheckNode("n", [], check_interval_ms=730)
    simulation = simulate(graph("g", made >> watch))
    assert [at for at, _ in watch.got] == [0, 0.73, 1.46]
    assert simulation.report.reason == "quiet"
    assert 2 <= simulation.elapsed_s < 2.2


# --- alerts


def test_each_rule_that_returns_text_alerts_each_channel_in_order():
    told: list[tuple[str, str]] = []
    rules = [lambda x: f"first {x}", lambda x: None, lambda x: "", lambda x: True, lambda x: "last"]
    channels = [lambda text: told.append(("a", text)), lambda text: told.append(("b", text))]
    harness = NodeTestHarness(AlertingNode("n", rules, channels))
    harness.send_message("input", 7)
    assert payloads(harness) == [{"alert": "first 7"}, {"alert": "last"}]
    assert told == [("a", "first 7"), ("b", "first 7"), ("a", "last"), ("b", "last")]


@pytest.mark.v1("D54")
def test_an_alert_keeps_trace_headers_and_metadata():
    harness = NodeTestHarness(AlertingNode("n", [lambda x: "alert"]))
    harness.send_message("input", 1, metadata={"m": 1}, headers={"trace_id": "t", "to": "x"})
    alert = harness.get_emitted_messages("output")[0]
    assert (alert.get_trace_id(), alert.headers["to"], alert.metadata) == ("t", "x", {"m": 1})


def test_a_channel_that_raises_silences_no_other_and_is_counted():
    told: list[str] = []

    def broken(text: str) -> None:
        raise OSError(text)

    made = AlertingNode("n", [lambda x: f"alert {x}"], [broken, told.append])
    watch, simulation = run(made, (0, "secret"))
    assert (told, watch.payloads) == (["alert secret"], [{"alert": "alert secret"}])
    assert [(error.node, error.type) for error in simulation.report.errors] == [("n", "OSError")]
    assert "secret" not in str(simulation.report)


@pytest.mark.v1("D53")
def test_a_rule_that_raises_follows_the_error_policy(records):
    def broken(payload: Any) -> str:
        raise KeyError(payload)

    rules = [broken, lambda x: "alert"]
    watch, _ = run(AlertingNode("n", rules), (0, "secret"))
    assert watch.payloads == [{"alert": "alert"}]
    logged = records("function_node.error")
    assert [line["error_type"] for line in logged] == ["KeyError"]
    assert "secret" not in str(logged)

    watch, _ = run(AlertingNode("n", rules, config=EMITS), (0, 1))
    assert [payload.get("error_type", "no error") for payload in watch.payloads] == ["KeyError", "no error"]

    with pytest.raises(KeyError):
        NodeTestHarness(AlertingNode("n", rules, config=RAISES)).send_message("input", 1)


@pytest.mark.req("V4")
@pytest.mark.v1("D52")
@given(
    st.integers(0, 8),
    st.integers(0, 8),
    st.sampled_from([1, 2, 100]),
    st.sampled_from([0, 1, 1024]),
    st.integers(0, 5),
)
def test_alerts_are_neither_lost_nor_repeated_nor_reordered(items, rules, capacity, parked, seed):
    made = AlertingNode("n", [partial("{1} {0}".format, rule) for rule in range(rules)])
    made.max_parked = parked
    watch, _ = run(made, *((0, i) for i in range(items)), capacity=capacity, seed=seed)
    assert [each["alert"] for each in watch.payloads] == [
        f"{i} {rule}" for i in range(items) for rule in range(rules)
    ]


# --- samples


@pytest.mark.parametrize(("rate", "share"), [(0, 0), (-3, 0), (1, 1), (7.5, 1)])
def test_a_rate_is_clamped_to_the_range_from_none_to_all(rate, share):
    harness = NodeTestHarness(SamplingNode("n", rate))
    for i in range(200):
        harness.send_message("input", i)
    assert len(payloads(harness)) == 200 * share


def test_about_the_wanted_share_goes_on_as_the_same_objects():
    watch: list[Message[Any]] = []
    made = SamplingNode("n", 0.25, seed=7)
    made.emit = lambda port, msg: watch.append(msg) or msg
    sent = [Message("DATA", i) for i in range(2000)]
    for message in sent:
        made._handle_message("input", message)
    assert 400 < len(watch) < 600
    assert {id(message) for message in watch} <= {id(message) for message in sent}


def sampled(run_seed: int, seed: int | None) -> list[int]:
    got: list[int] = []
    made = SamplingNode("n", 0.5, seed=seed)
    simulate(graph("g", source(range(100)) >> made >> sink(got.append, name="end")), seed=run_seed)
    return got


@pytest.mark.req("V15")
def test_equal_seeds_of_a_simulation_choose_equally():
    assert sampled(1, None) == sampled(1, None) != sampled(2, None)


def test_a_node_with_a_seed_of_its_own_chooses_equally_in_every_run():
    assert sampled(1, 5) == sampled(2, 5) != sampled(2, 6)


# --- what they are made with


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: MetricsCollectorNode("n", [len]), TypeError, "metric_extractors must be a dict of functions"),
        (lambda: MetricsCollectorNode("n", {"a": WRONG}), ValueError, "a function is needed, got int"),
        (lambda: MetricsCollectorNode("n", {}, aggregation_window_ms="1"), TypeError, "aggregation_window_ms must be"),
        (lambda: HealthCheckNode("n", len), TypeError, "HealthCheckNode 'n': health_checks must be a list of functions"),
        (lambda: HealthCheckNode("n", [WRONG]), ValueError, "a function is needed, got int"),
        (lambda: AlertingNode("n", [str], [WRONG]), ValueError, "a function is needed, got int"),
        (lambda: AlertingNode("n", "rule"), TypeError, "alert_rules must be a list of functions, got 'rule'"),
        (lambda: SamplingNode("n", "half"), TypeError, "sampling_rate must be a number, got 'half'"),
        (lambda: SamplingNode("n", float("nan")), ValueError, "sampling_rate must be a finite number"),
        (lambda: SamplingNode("n", 1, "systematic"), ValueError, "sampling_strategy must be SamplingStrategy.RANDOM"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_with_name_value_and_what_is_allowed(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_the_order_of_positional_parameters_is_that_of_v1():
    config = NodeConfig()
    assert list(MetricsCollectorNode("n", {}, "in", "out", 1000, config).port_map()) == ["in", "out"]
    assert list(HealthCheckNode("n", [], "out", 1000, config).port_map()) == ["out"]
    assert list(AlertingNode("n", [], None, "in", "out", config).port_map()) == ["in", "out"]
    assert list(SamplingNode("n", 1, SamplingStrategy.RANDOM, "in", "out", config).port_map()) == [
        "in",
        "out",
    ]
