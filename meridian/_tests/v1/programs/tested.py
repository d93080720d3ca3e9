"""Programs that test a node by itself, and look at metrics, spans and logs after a run."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# Programs written for v1 have no annotations, and do more than the types allow.

from __future__ import annotations

import io
import json

from meridian._tests.v1.programs.hello import Consumer, Producer
from meridian.core import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)
from meridian.nodes import ErrorPolicy, FunctionNode, NodeConfig, NodeTestHarness, setup_standard_ports
from meridian.observability import PrometheusMetrics, configure_metrics, get_metrics, get_tracer
from meridian.observability.config import configure_observability, get_development_config
from meridian.observability.logging import LogLevel


class Squares(FunctionNode):
    """A node on v1's base class, with the protected names that its documentation tells one to use."""

    def __init__(self, name, config=None):
        inputs, outputs = setup_standard_ports(["input"], ["output"])
        super().__init__(name, inputs, outputs, config)
        self._user_function = lambda payload: payload * payload

    def _handle_message(self, port, msg):
        if not msg.is_data():
            self.emit("output", msg)
            return
        result = self._safe_call_user_function(msg.payload, original_message=msg)
        if result is not None:
            self.emit("output", Message(MessageType.DATA, result))


def a_node_in_the_harness():
    harness = NodeTestHarness(Squares("squares"))
    harness.send_message("input", 3, metadata={"unit": "m"}, headers={"trace_id": "t"})
    harness.send_message("input", "no number")
    harness.send_control("input", {"event": "completed"})
    harness.send_error("input", "broken")
    harness.trigger_tick()
    return [(msg.type.name, msg.payload) for msg in harness.get_emitted_messages("output")]


def error_policies_in_the_harness():
    emits = NodeTestHarness(Squares("emits", NodeConfig(error_policy=ErrorPolicy.EMIT_ERROR)))
    emits.send_message("input", "no number")
    (error,) = emits.get_emitted_messages("output")
    raises = NodeTestHarness(Squares("raises", NodeConfig(error_policy=ErrorPolicy.RAISE_EXCEPTION)))
    try:
        raises.send_message("input", "no number")
    except TypeError:
        raised = True
    else:
        raised = False
    return error.type.name, sorted(error.payload), error.payload["error_type"], error.metadata, raised


def a_node_without_a_scheduler():
    """Hooks are plain calls; emit gives back the very message and delivers nothing."""
    node = Node("test", outputs=[Port("out", PortDirection.OUTPUT)])
    message = Message(MessageType.DATA, 1)
    node._messages_total = None
    node._errors_total = None
    node.on_start()
    node.on_message("in", message)
    node.on_tick()
    node.on_stop()
    return node.emit("out", message) is message


def counts_after_a_run():
    """Metrics are read by their keys when the run is over."""
    configure_metrics(PrometheusMetrics())
    graph = Subgraph.from_nodes("g", [producer := Producer(), Consumer()])
    id = graph.connect(("producer", "output"), ("consumer", "input"), capacity=16)
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    counters = get_metrics().get_all_counters()
    depth = get_metrics().get_all_gauges()[f"meridian-runtime_edge_queue_depth{{edge_id={id}}}"]
    latency = next(
        histogram
        for key, histogram in get_metrics().get_all_histograms().items()
        if key.endswith("scheduler_loop_latency_seconds")
    )
    return {
        "sent": producer.count,
        "handled": counters["meridian-runtime_node_messages_total{node=consumer}"].value,
        "enqueued": counters[f"meridian-runtime_edge_enqueued_total{{edge_id={id}}}"].value,
        "dequeued": counters[f"meridian-runtime_edge_dequeued_total{{edge_id={id}}}"].value,
        "depth": depth.value,
        "looped": latency.count > 0 and latency.buckets[float("inf")] == latency.count,
    }


def the_development_configuration():
    """Three messages, and what they left in the log, the metrics and the spans."""
    stream = io.StringIO()
    config = get_development_config()
    config.log_stream = stream
    config.log_level = LogLevel.INFO
    configure_observability(config)

    class Three(Producer):
        def _handle_tick(self):
            if self.count < 3:
                super()._handle_tick()

    graph = Subgraph.from_nodes("g", [Three(), Consumer()])
    graph.connect(("producer", "output"), ("consumer", "input"))
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    events = {json.loads(line)["event"] for line in stream.getvalue().splitlines()}
    metrics = get_metrics()
    keys = " ".join([*metrics.get_all_counters(), *metrics.get_all_gauges()])
    spans = {span.name.partition(".")[0] for span in get_tracer().get_spans()}
    return events, keys, spans
