"""The page about OpenTelemetry tells the spans and attributes that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meridian import Message, MessageType, Node, Scheduler, Subgraph, sink
from meridian.observability import TracingConfig, configure_tracing, tracing
from meridian.observability.otel_spans import OpenTelemetryTracer

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "opentelemetry.md"


class Ticks(Node):
    """Makes one message, at its first tick."""

    made = False

    def _handle_tick(self) -> None:
        if not self.made:
            self.made = True
            self.emit("output", Message(MessageType.DATA, 1))


@pytest.mark.req("X1")
def test_the_page_names_the_spans_of_a_run_with_kind_and_attributes():
    exporter, provider = memory.InMemorySpanExporter(), sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracing.use_tracer(OpenTelemetryTracer(None, provider))
    ports = Node.with_ports("ticks", [], ["output"])
    made = Subgraph("g")
    made.add_node(Ticks("ticks", ports.inputs, ports.outputs))
    scheduler = Scheduler()
    end = sink(lambda n: scheduler.shutdown(), name="end").node()
    made.add_node(end)
    made.connect(("ticks", "output"), ("end", "input"))
    scheduler.register(made)
    try:
        scheduler.run()
    finally:
        configure_tracing(TracingConfig())
        provider.shutdown()
    text = PAGE.read_text(encoding="utf-8")
    spans = dict(re.findall(r"^\| `([\w.]+)` \| ([A-Z]+) \|", text, re.MULTILINE))
    attributes = dict(re.findall(r"^\| `(meridian\.\w+)` \| (\S+) \|", text, re.MULTILINE))
    found = exporter.get_finished_spans()
    assert {span.name: span.kind.name for span in found} == spans
    for span in found:
        told = {name for name, of in attributes.items() if of in ("all", f"`{span.name}`")}
        assert set(span.attributes) == told
