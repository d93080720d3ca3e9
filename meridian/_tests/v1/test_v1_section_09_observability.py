"""Section 9 of the v1 contract as a run shows it; the parts by themselves are tested in _tests/observability."""

# mypy: no-check-untyped-defs

from __future__ import annotations

import logging as stdlib

import pytest

from meridian import PriorityBand, SchedulerConfig, Subgraph, block, coalesce, drop, latest
from meridian._tests.core.parts import (
    Burst,
    Collect,
    Relay,
    Ticker,
    chain,
    data,
    edge,
    run,
    scheduler,
)
from meridian.core.node import Node
from meridian.observability import (
    InMemoryTracer,
    ObservabilityConfig,
    PrometheusMetrics,
    TracingConfig,
    configure,
    configure_metrics,
    configure_observability,
    configure_tracing,
    get_tracer,
)
from meridian.observability.config import get_default_config, get_development_config
from meridian.testing import simulate

pytestmark = pytest.mark.req("V1", "X1")


class Changes(Ticker):
    """Changes what can be changed at its second tick, then stops the run."""

    scheduler = None

    def _handle_tick(self):
        super()._handle_tick()
        if self.ticks == 2:
            self.scheduler.set_priority("ticker:out->c:in", PriorityBand.HIGH)
            self.scheduler.set_capacity("ticker:out->c:in", 7)
            self.scheduler.set_priority("none", PriorityBand.HIGH)
            self.scheduler.shutdown()


class Fails(Collect):
    def _handle_message(self, port, msg):
        raise ValueError("secret")


class FailsToTick(Node):
    def _handle_tick(self):
        raise KeyError("secret")


@pytest.fixture
def told(debug, records):
    """The records of a run in which everything happens, by event."""
    changes = Changes()
    graph = chain(changes, Collect("c"), capacity=8)
    graph.add_node(Burst("b", range(4)))
    graph.add_node(Fails("f"))
    graph.add_node(FailsToTick("t"))
    graph.connect(("b", "out"), ("f", "in"), 2, "drop")
    made = changes.scheduler = scheduler()
    made.set_priority("ticker:out->c:in", PriorityBand.NORMAL)
    made.register(graph)
    made.register(Collect("alone"))
    made.run()
    found = {}
    for record in records():
        found.setdefault(record["event"], record)
    return found


@pytest.mark.parametrize(
    ("event", "level", "fields"),
    [
        ("scheduler.start", "INFO", "graphs_count tick_interval_ms"),
        ("scheduler.ready", "INFO", "nodes_count"),
        ("scheduler.shutdown_requested", "INFO", ""),
        ("scheduler.shutdown_start", "INFO", ""),
        ("scheduler.shutdown_complete", "INFO", ""),
        ("scheduler.register_node", "DEBUG", ""),
        ("scheduler.register_subgraph", "DEBUG", ""),
        ("scheduler.priority_pending", "DEBUG", "edge_id priority"),
        ("scheduler.priority_changed", "INFO", "edge_id old_priority new_priority"),
        ("scheduler.capacity_changed", "INFO", "edge_id old_capacity new_capacity"),
        ("scheduler.edge_not_found", "WARN", "edge_id"),
        ("scheduler.message_dropped", "WARN", "edge_id"),
        ("node.start", "INFO", "node"),
        ("node.stop", "INFO", "node"),
        ("node.message_processed", "DEBUG", "node duration"),
        ("node.message_error", "ERROR", "node error_type error_msg"),
        ("node.tick_processed", "DEBUG", "node"),
        ("node.tick_error", "ERROR", "node error_type error_msg"),
        ("node.emit", "DEBUG", "node port trace_id message_type"),
    ],
)
def test_an_event_has_its_level_and_fields(told, event, level, fields):
    record = told[event]
    assert record["level"] == level
    assert [field for field in fields.split() if field not in record] == []
    assert isinstance(record["ts"], float)
    assert record["message"]


def test_no_payload_is_in_any_record(told):
    assert "secret" not in str(told)


def test_items_put_and_taken_by_hand_are_logged_at_debug(debug, events):
    made = edge(1)
    made.try_put(1)
    made.try_put(2)
    made.try_get()
    assert events() == ["edge.enqueue", "edge.replace", "edge.dequeue"]


def test_an_error_of_a_run_is_not_reported_twice(caplog):
    with caplog.at_level(stdlib.DEBUG):
        run(chain(Burst("b", [1]), Fails("f")))
    assert [record for record in caplog.records if "f" in record.getMessage()] == []


def test_warning_is_taken_for_warn(log):
    configure("WARNING", stream=log)
    run(chain(Burst("b", [1]), Collect("c")))
    assert log.getvalue() == ""


def test_a_configuration_may_be_changed_before_it_is_used(log):
    config = get_development_config()
    config.log_level = "ERROR"
    config.log_stream = log
    config.metrics_namespace = "mine"
    configure_observability(config)
    run(chain(Burst("b", [1]), Fails("f")))
    assert '"node.message_error"' in log.getvalue()
    assert '"node.start"' not in log.getvalue()


@pytest.mark.v1("D43")
def test_metrics_and_tracing_that_are_off_are_off(log):
    configure_observability(get_development_config())
    config = get_default_config()
    config.log_stream = log
    configure_observability(config)
    run(chain(Burst("b", [1]), Collect("c")))
    assert get_tracer().is_enabled() is False


@pytest.mark.v1("D37", "D38", "D39")
def test_a_logger_fetched_early_follows_and_keeps_every_key(log, records):
    from meridian.observability import get_logger, with_context

    early = get_logger()
    configure("DEBUG", stream=log)
    with with_context(batch=7, node="n"):
        early.debug("mine", "text", thing=object())
    (record,) = records()
    assert (record["batch"], record["node"]) == (7, "n")
    assert "object" in record["thing"]


# --- metrics


def test_a_counter_shows_its_labels_as_v1s_did():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    run(chain(Burst("b", [1]), Collect("c")))
    counter = metrics.get_all_counters()["meridian-runtime_node_messages_total{node=c}"]
    assert dict(counter._labels) == {"node": "c"}
    assert counter.value == 1.0


def test_only_messages_handled_with_success_are_counted_as_such():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    run(chain(Burst("b", [1, 2]), Fails("f")))
    counters = metrics.get_all_counters()
    assert counters["meridian-runtime_node_messages_total{node=f}"].value == 0
    assert counters["meridian-runtime_node_errors_total{node=f}"].value == 2


def test_each_tick_is_timed():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    ticker = Ticker()
    run(chain(ticker, Collect("c")))
    timed = metrics.get_all_histograms()["meridian-runtime_node_tick_duration_seconds{node=ticker}"]
    assert timed.count == ticker.ticks > 0


# --- traces


def test_the_spans_of_a_run_have_their_attributes():
    configure_tracing(TracingConfig(enabled=True, provider="inmemory", sample_rate=1.0))
    run(chain(Ticker(), Relay("r"), Collect("c")))
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    spans = {span.name: span for span in tracer.get_spans()}
    assert set(spans) == {"scheduler.loop_iteration", "node.on_message", "node.on_tick"}
    assert set(spans["scheduler.loop_iteration"].attributes) == {"iteration"}
    assert set(spans["node.on_message"].attributes) == {"node", "port", "trace_id"}
    assert spans["node.on_tick"].attributes == {"node": "ticker"}
    assert all(span.is_finished() for span in spans.values())


@pytest.mark.v1("D42")
def test_a_run_that_is_nearly_idle_makes_few_spans():
    configure_tracing(TracingConfig(enabled=True, provider="inmemory", sample_rate=1.0))
    run(Node.with_ports("idle", ["in"], []), shutdown_timeout_s=0.2)
    assert len(get_tracer().get_spans()) < 20  # v1: 1,723 a second


@pytest.mark.v1("D40", "D54")
def test_a_trace_given_at_the_source_is_the_trace_of_the_spans():
    configure_tracing(TracingConfig(enabled=True, provider="inmemory", sample_rate=1.0))
    run(chain(Burst("b", [data(1, trace_id="mine")]), Relay("r"), Collect("c")))
    handled = [span for span in get_tracer().get_spans() if span.name == "node.on_message"]
    assert {span.attributes["trace_id"] for span in handled} == {"mine"}
    assert len(handled) == 2


def test_the_faqs_import_works():
    configure_observability(ObservabilityConfig(log_level="ERROR"))
    assert Subgraph("g").validate() == []


@pytest.mark.req("X4")
def test_at_debug_every_put_of_a_run_says_what_became_of_it(debug, records):
    class Produces(Node):
        done = False

        def _handle_tick(self):
            if not self.done:
                self.done = True
                for port in policies:
                    for n in range(3):
                        self.emit(port, data(n))

    policies = {"drop": drop(), "latest": latest(), "coalesce": coalesce(max), "block": block()}
    made = Subgraph.from_nodes(
        "g",
        [
            Produces.with_ports("produces", [], list(policies)),
            Node.with_ports("consumes", list(policies), []),
        ],
    )
    for port, policy in policies.items():
        made.connect(("produces", port), ("consumes", port), 1, policy)
    run(made)
    lines = records()

    def results(port):
        edge_id = f"produces:{port}->consumes:{port}"
        return [line["result"] for line in lines if line.get("edge_id") == edge_id and "result" in line]

    assert results("drop") == ["OK", "DROPPED", "DROPPED"]
    assert results("latest") == ["OK", "REPLACED", "REPLACED"]
    assert results("coalesce") == ["OK", "COALESCED", "COALESCED"]
    assert results("block") == ["OK"]  # the others wait
    found = {line["event"]: line for line in lines}
    assert found["scheduler.node_blocked"]["blocked_edges"] == ["produces:block->consumes:block"]
    assert found["scheduler.node_unblocked"]["unblocked_edges"] == ["produces:block->consumes:block"]
    assert {"scheduler.process_messages", "scheduler.process_tick", "scheduler.backpressure"} <= set(found)
    assert found["scheduler.edge_unblocked"]["edge_id"] == "produces:block->consumes:block"
    routed = next(line for line in lines if line["event"] == "scheduler.message_routed")
    assert (routed["edge_capacity"], routed["edge_size"]) == (1, 1)


def test_at_debug_the_loop_says_now_and_then_how_it_is(debug, records):
    simulate(Ticker(), until_s=60, config=SchedulerConfig(tick_interval_ms=50, shutdown_timeout_s=0.1))
    health = [line for line in records() if line["event"] == "scheduler.health"]
    assert [line["iteration_count"] for line in health] == [1000]
    assert {"runnable_nodes", "avg_loop_latency"} <= set(health[0])
