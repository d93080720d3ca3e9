"""Logs, metrics and traces, on the standard library alone.

::

    config          one call that states everything
    logging         one record, one line; never raises
    metrics         counters, gauges, histograms; collectors publish when somebody reads
    exposition      the Prometheus text format
    tracing         spans, in memory or to OpenTelemetry (`otel_spans`)
    traceparent     the header by which a message says which span it comes from
    events          what went wrong or changed, as typed records in a bounded ring
    context         the trace id and fields that all of them share; the count of reconfigurations

This is a bottom layer: nothing here knows about graphs or the runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meridian.observability.config import (
    ObservabilityConfig,
    configure_observability,
    get_default_config,
    get_development_config,
    get_production_config,
)
from meridian.observability.context import generation
from meridian.observability.logging import (
    LogConfig,
    Logger,
    LogLevel,
    configure,
    get_logger,
    with_context,
)
from meridian.observability.metrics import (
    DEFAULT_LATENCY_BUCKETS,
    BoundCounter,
    BoundGauge,
    BoundHistogram,
    Counter,
    Gauge,
    Histogram,
    Metrics,
    NoopMetrics,
    PrometheusConfig,
    PrometheusCounter,
    PrometheusGauge,
    PrometheusHistogram,
    PrometheusMetrics,
    bound_counter,
    bound_gauge,
    bound_histogram,
    configure_metrics,
    get_metrics,
    is_metrics_enabled,
    time_block,
)
from meridian.observability.tracing import (
    InMemoryTracer,
    NoopSpan,
    NoopTracer,
    Span,
    Tracer,
    TracingConfig,
    configure_tracing,
    generate_trace_id,
    get_span_id,
    get_trace_id,
    get_tracer,
    is_tracing_enabled,
    set_trace_id,
    start_span,
)

if TYPE_CHECKING:
    from meridian.observability.otel_spans import OpenTelemetrySpan, OpenTelemetryTracer

__all__ = [
    "DEFAULT_LATENCY_BUCKETS",
    "BoundCounter",
    "BoundGauge",
    "BoundHistogram",
    "Counter",
    "Gauge",
    "Histogram",
    "InMemoryTracer",
    "LogConfig",
    "LogLevel",
    "Logger",
    "Metrics",
    "NoopMetrics",
    "NoopSpan",
    "NoopTracer",
    "ObservabilityConfig",
    "OpenTelemetrySpan",
    "OpenTelemetryTracer",
    "PrometheusConfig",
    "PrometheusCounter",
    "PrometheusGauge",
    "PrometheusHistogram",
    "PrometheusMetrics",
    "Span",
    "Tracer",
    "TracingConfig",
    "bound_counter",
    "bound_gauge",
    "bound_histogram",
    "configure",
    "configure_metrics",
    "configure_observability",
    "configure_tracing",
    "generate_trace_id",
    "generation",
    "get_default_config",
    "get_development_config",
    "get_logger",
    "get_metrics",
    "get_production_config",
    "get_span_id",
    "get_trace_id",
    "get_tracer",
    "is_metrics_enabled",
    "is_tracing_enabled",
    "set_trace_id",
    "start_span",
    "time_block",
    "with_context",
]

if not TYPE_CHECKING:  # a type checker reads the import above

    def __getattr__(name: str) -> Any:
        # Only few processes need them.
        if name in ("OpenTelemetrySpan", "OpenTelemetryTracer"):
            return getattr(import_module("meridian.observability.otel_spans"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
