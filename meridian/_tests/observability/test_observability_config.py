from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

import meridian.observability as observability
from meridian.observability import (
    InMemoryTracer,
    LogLevel,
    NoopMetrics,
    NoopTracer,
    ObservabilityConfig,
    PrometheusMetrics,
    configure,
    configure_metrics,
    configure_observability,
    configure_tracing,
    get_default_config,
    get_development_config,
    get_logger,
    get_metrics,
    get_production_config,
    get_tracer,
    is_tracing_enabled,
    start_span,
)
from meridian.observability.tracing import TracingConfig

V1_NAMES = {
    "": """LogConfig LogLevel Logger configure get_logger with_context PrometheusConfig PrometheusMetrics NoopMetrics
        DEFAULT_LATENCY_BUCKETS Counter Gauge Histogram Metrics get_metrics configure_metrics time_block TracingConfig
        InMemoryTracer NoopTracer Span OpenTelemetrySpan get_tracer configure_tracing is_tracing_enabled start_span
        set_trace_id get_trace_id get_span_id generate_trace_id configure_observability""",
    ".config": """ObservabilityConfig configure_observability get_default_config get_development_config
        get_production_config""",
    ".logging": "LogConfig LogLevel Logger get_logger configure with_context set_trace_id get_trace_id",
    ".metrics": """PrometheusConfig DEFAULT_LATENCY_BUCKETS Counter Gauge Histogram Metrics PrometheusMetrics NoopMetrics
        get_metrics configure_metrics time_block""",
    ".tracing": """TracingConfig get_tracer configure_tracing is_tracing_enabled InMemoryTracer NoopTracer Span NoopSpan
        OpenTelemetrySpan start_span set_trace_id get_trace_id get_span_id generate_trace_id""",
}


@pytest.mark.req("V1")
@pytest.mark.parametrize("module", V1_NAMES)
@pytest.mark.v1("D47")
def test_every_v1_name_is_public_where_it_was(module: str):
    loaded = __import__(f"meridian.observability{module}", fromlist=["x"])
    assert set(V1_NAMES[module].split()) <= set(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def test_the_presets_are_v1s():
    assert get_default_config() == ObservabilityConfig(
        LogLevel.INFO, True, None, False, "meridian-runtime", False, "noop", 0.0
    )
    assert get_development_config() == ObservabilityConfig(
        LogLevel.DEBUG, True, None, True, "meridian-runtime", True, "inmemory", 1.0
    )
    assert get_production_config() == ObservabilityConfig(
        LogLevel.INFO, True, None, True, "meridian-runtime", True, "opentelemetry", 0.1
    )


@pytest.mark.req("X1")
def test_the_development_preset_shows_everything():
    config = get_development_config()
    config.log_stream = stream = io.StringIO()
    configure_observability(config)
    get_logger().debug("e", "m")
    with start_span("name"):
        pass
    assert json.loads(stream.getvalue())["event"] == "e"
    assert isinstance(get_metrics(), PrometheusMetrics)
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    assert len(tracer.spans) == 1


@pytest.mark.parametrize("level", ["WARN", "warn", "warning", LogLevel.WARN])
def test_a_level_may_be_a_name(level: Any):
    configure_observability(ObservabilityConfig(log_level=level))
    assert get_logger().config.level is LogLevel.WARN


@pytest.mark.v1("D36")
def test_log_json_false_writes_pairs_without_a_field_about_it():
    stream = io.StringIO()
    configure_observability(ObservabilityConfig(log_json=False, log_stream=stream))
    get_logger().info("e", "m")
    assert stream.getvalue().endswith("level=INFO event=e message=m\n")
    assert "json" not in stream.getvalue()


@pytest.mark.req("X1")
@pytest.mark.v1("D43")
def test_disabled_means_disabled():
    configure("DEBUG", io.StringIO(), {"left": "over"}, json=False)
    configure_metrics(PrometheusMetrics())
    configure_tracing(TracingConfig(enabled=True, provider="inmemory"))
    configure_observability(get_default_config())
    config = get_logger().config
    assert (config.level, config.json, config.stream, config.extra_fields) == (LogLevel.INFO, True, None, {})
    assert isinstance(get_metrics(), NoopMetrics)
    assert isinstance(get_tracer(), NoopTracer)
    assert is_tracing_enabled() is False


def test_metrics_are_fresh_with_their_namespace():
    seen = []
    for _ in range(2):
        configure_observability(ObservabilityConfig(metrics_enabled=True, metrics_namespace="app"))
        metrics = get_metrics()
        assert isinstance(metrics, PrometheusMetrics)
        metrics.counter("c").inc()
        seen.append({key: made.value for key, made in metrics.get_all_counters().items()})
    assert seen == [{"app_c": 1.0}] * 2


def test_tracing_without_a_rate_keeps_every_span():
    configure_observability(ObservabilityConfig(tracing_enabled=True, tracing_provider="inmemory"))
    with start_span("name"):
        pass
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    assert len(tracer.spans) == 1


def test_a_provider_that_is_not_enabled_is_not_even_looked_at(records: Any, stream: io.StringIO):
    configure_observability(ObservabilityConfig(log_stream=stream, tracing_provider="jaeger"))
    assert records() == []


@pytest.mark.parametrize("bad", [{"log_level": "LOUD"}, {"tracing_sample_rate": 2.0}])
def test_a_wrong_value_changes_nothing(bad: dict[str, Any]):
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    before = get_logger().config
    with pytest.raises(ValueError):
        configure_observability(ObservabilityConfig(metrics_enabled=True, **bad))
    assert get_metrics() is metrics
    assert get_logger().config == before


@pytest.mark.v1("D47")
def test_a_dict_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"ObservabilityConfig\(\*\*settings\)"):
        configure_observability({"log_level": "INFO"})  # type: ignore[arg-type]


def test_importing_observability_leaves_heavy_modules_alone():
    script = (
        "import asyncio, sys; before = set(sys.modules); import meridian.observability.config;"
        "print(sorted({'json', 'uuid', 'random', 'datetime'} & (set(sys.modules) - before)))"
    )
    # Without site, as its start-up files may import anything; the path stands in for the installation.
    root = str(__import__("pathlib").Path(observability.__file__).parents[2])
    script = f"import sys; sys.path.insert(0, {root!r}); {script}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_observability_imports_nothing_above_it():
    import ast
    from pathlib import Path

    allowed = ("meridian.observability", "meridian.redaction")
    for package in ("observability", "redaction"):
        for path in (Path(observability.__file__).parents[1] / package).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            found |= {
                name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
            }
            ours = {name for name in found if name.partition(".")[0] == "meridian"}
            assert all(name.startswith(allowed) for name in ours), path
