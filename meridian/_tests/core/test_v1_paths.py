"""Section 1 of the v1 contract: what is imported from where."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings

import pytest

import meridian
from meridian._v1_paths import MOVED

pytestmark = pytest.mark.req("V1")

IMPORT_MAP = {
    "meridian": "__version__ core observability utils Message MessageType Node Subgraph Edge Port PortDirection Scheduler SchedulerConfig PortSpec",
    "meridian.core": "Message MessageType Port PortDirection PortSpec BackpressureStrategy RetryPolicy RoutingPolicy Edge Node Subgraph Scheduler SchedulerConfig",
    "meridian.core.message": "Message MessageType",
    "meridian.core.ports": "Port PortDirection PortSpec SchemaValidator",
    "meridian.core.policies": "PutResult Policy Block Drop Latest Coalesce block drop latest coalesce RetryPolicy BackpressureStrategy RoutingPolicy Routable",
    "meridian.core.edge": "Edge",
    "meridian.core.node": "Node",
    "meridian.core.subgraph": "Subgraph ValidationIssue",
    "meridian.core.scheduler": "Scheduler SchedulerConfig",
    "meridian.core.runtime_plan": "PriorityBand",
    "meridian.core.priority_queue": "PriorityQueueConfig PrioritySchedulingQueue",
    "meridian.observability": "LogConfig LogLevel Logger configure get_logger with_context PrometheusConfig PrometheusMetrics NoopMetrics DEFAULT_LATENCY_BUCKETS Counter Gauge Histogram Metrics get_metrics configure_metrics time_block TracingConfig InMemoryTracer NoopTracer Span OpenTelemetrySpan get_tracer configure_tracing is_tracing_enabled start_span set_trace_id get_trace_id get_span_id generate_trace_id",
    "meridian.observability.config": "ObservabilityConfig configure_observability get_default_config get_development_config get_production_config",
    "meridian.observability.logging": "LogConfig LogLevel Logger get_logger configure with_context set_trace_id get_trace_id",
    "meridian.observability.metrics": "PrometheusConfig DEFAULT_LATENCY_BUCKETS Counter Gauge Histogram Metrics PrometheusMetrics NoopMetrics get_metrics configure_metrics time_block",
    "meridian.observability.tracing": "TracingConfig get_tracer configure_tracing is_tracing_enabled InMemoryTracer NoopTracer Span NoopSpan OpenTelemetrySpan start_span set_trace_id get_trace_id get_span_id generate_trace_id",
    "meridian.utils": "new_trace_id utc_now_iso require env_flag monotonic_ns",
}

DEEP = {
    "meridian.core.edge.definition": "Edge",
    "meridian.core.node.base": "Node",
    "meridian.core.policies.definitions": "PutResult Policy Block Drop Latest Coalesce block drop latest coalesce RetryPolicy RoutingPolicy",
    "meridian.core.subgraph.construction": "Subgraph ValidationIssue",
    "meridian.core.subgraph.validation": "ValidationIssue",
    "meridian.core.subgraph.management": "Subgraph",
    "meridian.core.scheduler.config": "SchedulerConfig",
    "meridian.core.scheduler.coordinator": "Scheduler",
    "meridian.core.scheduler.execution": "Scheduler",
    "meridian.core.scheduler.fairness": "SchedulerConfig",
    "meridian.core.scheduler.shutdown": "Scheduler",
    "meridian.core.runtime_plan.plan": "PriorityBand",
    "meridian.core.priority_queue.config": "PriorityQueueConfig",
    "meridian.core.priority_queue.queue": "PrioritySchedulingQueue",
    "meridian.core.priority_queue.processor": "PrioritySchedulingQueue",
    "meridian.observability.logging.config": "LogConfig LogLevel",
    "meridian.observability.logging.context": "with_context set_trace_id get_trace_id",
    "meridian.observability.logging.logger": "Logger get_logger configure",
    "meridian.observability.metrics.config": "PrometheusConfig DEFAULT_LATENCY_BUCKETS",
    "meridian.observability.metrics.collection": "get_metrics configure_metrics time_block",
    "meridian.observability.metrics.instruments": "Counter Gauge Histogram",
    "meridian.observability.metrics.providers": "PrometheusMetrics NoopMetrics",
    "meridian.observability.tracing.config": "TracingConfig",
    "meridian.observability.tracing.context": "set_trace_id get_trace_id get_span_id generate_trace_id",
    "meridian.observability.tracing.providers": "InMemoryTracer NoopTracer get_tracer configure_tracing",
    "meridian.observability.tracing.spans": "Span NoopSpan OpenTelemetrySpan start_span",
    "meridian.nodes.testing": "NodeTestHarness",
}


@pytest.mark.parametrize("module", IMPORT_MAP)
def test_every_name_of_the_import_map_is_there(module):
    loaded = importlib.import_module(module)
    assert [name for name in IMPORT_MAP[module].split() if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", [module for module in IMPORT_MAP if module != "meridian.utils"])
def test_every_name_of_the_import_map_can_be_imported_from_it(module):
    names: dict[str, object] = {}
    exec(f"from {module} import {', '.join(IMPORT_MAP[module].split())}", names)


def test_the_same_names_are_the_same_objects_everywhere():
    homes: dict[str, object] = {}
    for module, names in IMPORT_MAP.items():
        if "observability" in module or module == "meridian.utils":
            continue
        for name in names.split():
            assert homes.setdefault(name, getattr(importlib.import_module(module), name)) is getattr(
                importlib.import_module(module), name
            )


@pytest.mark.v1("L12", "D50")
def test_the_version_is_of_digits_and_dots_and_not_zero():
    assert re.fullmatch(r"\d+(\.\d+){0,2}", meridian.__version__)
    assert meridian.__version__ != "0.0.0"


def test_the_table_of_old_paths_is_the_one_walked_here():
    assert set(MOVED) == set(DEEP)


@pytest.mark.req("X4")
@pytest.mark.parametrize("old", DEEP)
def test_an_old_path_gives_its_new_home_and_warns_where_it_is_imported(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match="import from there") as caught:
        loaded = importlib.import_module(old)
    assert loaded is sys.modules[MOVED[old]]
    assert [name for name in DEEP[old].split() if not hasattr(loaded, name)] == []
    (warning,) = caught
    assert str(warning.message) == f"{old} is now {MOVED[old]}: import from there"


def test_the_warning_points_at_the_import_statement():
    sys.modules.pop("meridian.core.edge.definition", None)
    with pytest.warns(DeprecationWarning, match="import from there") as caught:
        import meridian.core.edge.definition  # type: ignore[import-not-found]  # noqa: F401
    assert caught[0].filename == __file__


def test_an_old_path_leaves_its_new_home_as_it_was():
    import meridian.core.edge as home

    before = (home.__name__, home.__spec__, home.__file__)
    sys.modules.pop("meridian.core.edge.definition", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("meridian.core.edge.definition")
    assert (home.__name__, home.__spec__, home.__file__) == before
    assert home is importlib.import_module("meridian.core.edge")
    import pickle

    assert pickle.loads(pickle.dumps(home.Edge)) is home.Edge


@pytest.mark.parametrize(
    "unknown", ["meridian.core.edge.other", "meridian.core.nothing", "meridian.core.edge.definition.x"]
)
def test_a_path_that_never_was_is_still_not_found(unknown):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(unknown)


def test_import_meridian_imports_no_old_path_and_its_subpackages_are_attributes():
    code = (
        "import sys, meridian\n"
        "from meridian._v1_paths import MOVED\n"
        "assert not set(MOVED) & set(sys.modules)\n"
        "meridian.core.Message, meridian.observability.get_logger, meridian.utils.require\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
