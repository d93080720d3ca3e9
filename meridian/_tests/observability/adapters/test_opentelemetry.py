"""The adapter for OpenTelemetry, against its real SDK and a collector that speaks OTLP."""

from __future__ import annotations

import asyncio
import logging as std_logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meridian import Inlet, Scheduler, graph, node, sink, source
from meridian.core import message
from meridian.core.errors import ConfigError
from meridian.nodes.extras import MissingExtraError
from meridian.observability import configure, context, get_logger, get_tracer, is_tracing_enabled
from meridian.observability.events import EventLog
from meridian.observability.tracing import NoopTracer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytest.importorskip("opentelemetry.proto")

from meridian._tests.observability.adapters.collector import Collector, plain
from meridian.observability.adapters import opentelemetry as adapter
from meridian.observability.adapters.catalogue import CATALOGUE
from meridian.observability.adapters.opentelemetry import (
    OpenTelemetryHandler,
    Telemetry,
    configure_opentelemetry,
)

ON_EACH_ENGINE = pytest.mark.usefixtures("engine")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    # OpenTelemetry takes a global provider once in a process; here nobody is to have one.
    monkeypatch.setattr(adapter, "_set_global", lambda before, provider, set_provider: None)
    # Out of the box nothing is handled, and no event of an earlier test holds back another.
    context.install_handled(message._handled)
    log = EventLog()
    monkeypatch.setattr(adapter, "get_events", lambda: log)
    made = Collector(log)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    yield made
    made.close()


@pytest.fixture
def telemetry(collector: Collector) -> Iterator[Callable[..., Telemetry]]:
    made: list[Telemetry] = []

    def begin(**settings: Any) -> Telemetry:
        made.append(configure_opentelemetry(**{"flush_s": 60.0, **settings}))
        return made[-1]

    yield begin
    collector.status = 200
    collector.hold.set()
    for each in made:
        each.close()


@node
def half(n: int) -> int:
    return n // 2


@node
async def later(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


END = sink(lambda n: None, name="end")


def run(*items: Any, through: Any = half) -> Scheduler:
    scheduler = Scheduler()
    scheduler.register(graph("g", source(list(items), name="numbers") >> through >> END))
    scheduler.run()
    return scheduler


# --- traces


@ON_EACH_ENGINE
@pytest.mark.req("X1", "V16")
def test_the_tree_of_a_message_arrives_at_a_collector(
    collector: Collector, telemetry: Callable[..., Telemetry]
):
    sending = telemetry(metrics=False, logs=False, service_name="shop")
    scheduler = Scheduler()
    scheduler.register(graph("g", source([7], name="numbers") >> half >> later >> END))
    scheduler.run()
    sending.close()
    by_node = {plain(span.attributes)["meridian.node"]: span for span in collector.spans}
    assert list(by_node) == ["numbers", "half", "later", "end"]
    above = b""
    for span in by_node.values():
        assert span.parent_span_id == above
        above = span.span_id
    assert len({span.trace_id for span in collector.spans}) == 1
    assert collector.resources[0]["service.name"] == "shop"
    assert sending.shed == {"traces": 0}
    assert isinstance(get_tracer(), NoopTracer)


@pytest.mark.req("X2")
def test_neither_payload_nor_text_of_an_error_arrives(
    collector: Collector, telemetry: Callable[..., Telemetry]
):
    canary = "canary-5f1c-4111111111111111"

    @node
    def fails(text: str) -> str:
        get_logger().error("told", "failed with 4111 1111 1111 1111", payload=text)
        raise ValueError(text)

    configure("INFO")
    sending = telemetry()
    run(canary, through=fails)
    sending.close()
    assert collector.asked.keys() == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    failed = [span for span in collector.spans if span.status.code == 2]
    assert [plain(span.attributes)["meridian.node"] for span in failed] == ["fails"]
    assert failed[0].status.message == "ValueError"
    assert plain(failed[0].events[0].attributes)["exception.message"] == "[redacted]"
    assert b"4111 1111" not in collector.raw
    assert b"canary" not in collector.raw
    # That the hunt finds a leak at all:
    assert b"fails" in collector.raw


@pytest.mark.req("V16")
@pytest.mark.parametrize(
    ("said", "argument", "kept"),
    [
        ("always_off", "", 0),
        ("parentbased_always_on", "", 20),
        ("traceidratio", "0.0", 0),
        ("parentbased_traceidratio", "1", 20),
        ("", "", 20),
    ],
)
def test_the_environment_says_which_share_of_traces_is_kept(
    collector: Collector,
    telemetry: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    argument: str,
    kept: int,
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", said)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    sending = telemetry(metrics=False, logs=False)
    run(*range(20))
    sending.close()
    assert len({span.trace_id for span in collector.spans}) == kept


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "always_on, always_off"),
        ("OTEL_TRACES_SAMPLER", "traceidratio:2", "use one of"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "use otlp or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "use http/protobuf"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc", "use http/protobuf"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "at least 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "at least 1"),
    ],
)
def test_what_the_environment_can_not_have_is_refused_and_nothing_changes(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, part: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=part) as refused:
        configure_opentelemetry()
    assert variable in str(refused.value)
    assert is_tracing_enabled() is False
    assert get_logger().also is None


@pytest.mark.parametrize("argument", ["a lot", "1.5", "-0.1"])
def test_a_share_that_is_none_is_refused(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, argument: str
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with pytest.raises(ConfigError, match=r"from 0\.0 to 1\.0"):
        configure_opentelemetry()
    with pytest.raises(ValueError, match=r"from 0\.0 to 1\.0"):
        configure_opentelemetry(sample_ratio=2.0)


def test_signals_are_switched_off_one_by_one_or_all(
    collector: Collector, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    assert telemetry(logs=False).signals == ("traces",)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    nothing = telemetry()
    assert (nothing.signals, nothing.shed, nothing.flush()) == ((), {}, True)


# --- metrics


@ON_EACH_ENGINE
@pytest.mark.req("X1")
def test_the_numbers_of_a_run_arrive_under_the_names_of_the_catalogue(
    collector: Collector, telemetry: Callable[..., Telemetry]
):
    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(10), name="numbers") >> half >> END))
    sending = telemetry(traces=False, logs=False, scheduler=scheduler)
    scheduler.run()
    sending.close()
    assert set(collector.metrics) <= {metric.name for metric in CATALOGUE}
    assert collector.points("meridian.node.handled") == {("numbers",): 0, ("half",): 10, ("end",): 10}
    first, second = "numbers:output->half:input", "half:output->end:input"
    assert collector.points("meridian.edge.delivered") == {(first,): 10, (second,): 10}
    assert collector.points("meridian.edge.depth") == {(first,): 0, (second,): 0}
    by_kind = {metric.name: metric for metric in CATALOGUE}
    for name, metric in collector.metrics.items():
        is_counter = by_kind[name].kind == "counter"
        assert (metric.WhichOneof("data"), metric.unit) == (
            "sum" if is_counter else "gauge",
            by_kind[name].unit,
        )
        assert not is_counter or metric.sum.is_monotonic


@pytest.mark.req("X1")
def test_counters_of_a_graph_that_runs_again_go_on(collector: Collector, telemetry: Callable[..., Telemetry]):
    scheduler = Scheduler()
    sending = telemetry(traces=False, logs=False, scheduler=scheduler)
    scheduler.register(graph("g", source(lambda: range(10), name="numbers") >> half >> END))
    told = []
    for _ in range(2):
        scheduler.run()
        assert sending.flush()
        told.append(collector.points("meridian.node.handled")["half",])
    assert told == [10, 20]


@pytest.mark.req("X1", "N7")
def test_one_collection_takes_one_look(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    looks = []
    monkeypatch.setattr(
        adapter.Reader, "read", lambda self: looks.append(1) or [(metric, []) for metric in CATALOGUE]
    )
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader], shutdown_on_exit=False)
    sending = configure_opentelemetry(traces=False, logs=False, meter_provider=provider)
    for expected in (1, 2, 3):
        reader.get_metrics_data()
        assert len(looks) == expected
    sending.close()
    reader.get_metrics_data()
    assert len(looks) == 3
    provider.shutdown()


@pytest.mark.req("X1")
def test_two_runs_of_a_process_are_told_apart(collector: Collector, telemetry: Callable[..., Telemetry]):
    sending = telemetry(traces=False, logs=False)

    got: list[int] = []
    ends = sink(got.append, name="end")

    async def main() -> None:
        inlets, running = [Inlet("in"), Inlet("in")], []
        for inlet in inlets:
            scheduler = Scheduler()
            scheduler.register(graph("g", inlet >> half >> ends))
            running.append(asyncio.create_task(scheduler.run_async()))
        for inlet, n in zip(inlets, (1, 2), strict=True):
            for _ in range(n):
                await inlet.put(1)
        while len(got) < 3:
            await asyncio.sleep(0)
        assert await asyncio.to_thread(sending.flush)
        for inlet in inlets:
            inlet.close()
        await asyncio.gather(*running)

    asyncio.run(asyncio.wait_for(main(), 60))
    handled = collector.points("meridian.node.handled")
    assert sorted(value for labels, value in handled.items() if labels[0] == "end") == [1, 2]


# --- logs


@ON_EACH_ENGINE
@pytest.mark.req("X1", "X2")
def test_a_line_arrives_with_its_node_and_its_span(collector: Collector, telemetry: Callable[..., Telemetry]):
    configure("INFO", Sunk())

    @node
    def tells(n: int) -> int:
        get_logger().warn("told", "mail to ann@example.com", n=n, thing=object())
        return n

    sending = telemetry(metrics=False)
    run(1, through=tells)
    sending.close()
    (told,) = (line for line in collector.logs if plain(line.attributes)["meridian.event"] == "told")
    (span,) = (span for span in collector.spans if plain(span.attributes)["meridian.node"] == "tells")
    assert (told.trace_id, told.span_id) == (span.trace_id, span.span_id)
    said = plain(told.attributes)
    assert (told.severity_text, told.severity_number) == ("WARN", 13)
    assert (said["meridian.node"], said["meridian.n"]) == ("tells", 1)
    assert told.body.string_value.startswith("mail to ")
    assert b"ann@example.com" not in collector.raw


@pytest.mark.req("X1", "X2")
def test_an_applications_own_lines_go_the_same_way(collector: Collector, telemetry: Callable[..., Telemetry]):
    sending = telemetry(metrics=False, traces=False)
    logger, handler = std_logging.getLogger("shop.orders"), OpenTelemetryHandler(sending)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.error("order of %s", "ann@example.com", extra={"secret": "canary-77"})
        logger.log(31, "a level of one's own")
        try:
            raise KeyError("canary-78")
        except KeyError:
            logger.exception("failed")
        try:
            raise type("Of_ann@example.com", (Exception,), {})
        except Exception:
            logger.exception("failed, too")
        handler.emit(
            std_logging.makeLogRecord({"name": "shop", "levelno": 40, "msg": "%d", "args": ("no number",)})
        )
        handler.emit(std_logging.makeLogRecord({"name": "opentelemetry.exporter", "levelno": 40}))
        sending.close()
        logger.error("after the end")
    finally:
        logger.removeHandler(handler)
    first, second, third, fourth = collector.logs
    assert first.body.string_value.startswith("order of ")
    assert [line.severity_text for line in (first, second, third)] == ["ERROR", "INFO", "ERROR"]
    assert plain(first.attributes)["logger"] == "shop.orders"
    assert plain(third.attributes)["exception.type"] == "KeyError"
    assert plain(third.attributes)["exception.message"] == "[redacted]"
    assert "[redacted:email]" in plain(fourth.attributes)["exception.type"]
    assert b"canary" not in collector.raw
    assert b"ann@" not in collector.raw


class Sunk:
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


# --- bounds


def shed_events(collector: Collector) -> list[Any]:
    return [event for event in collector.events.since().events if event.kind == "telemetry.shed"]


@pytest.mark.req("X1")
def test_a_collector_that_refuses_costs_what_was_sent_and_says_so(
    collector: Collector, telemetry: Callable[..., Telemetry]
):
    collector.status = 400  # what no client tries again
    sending = telemetry(logs=False)
    assert run(1, 2, 3).report().status == "stopped"
    sending.flush()
    assert sending.shed == {"traces": 9, "metrics": 1}
    told = {event.what: event for event in shed_events(collector)}
    assert told.keys() == {"traces", "metrics"}
    assert (told["traces"].n, told["traces"].total, told["traces"].level) == (9, 9, "warn")


@pytest.mark.req("X1")
def test_a_collector_that_does_not_answer_neither_holds_up_a_run_nor_fills_the_memory(
    collector: Collector, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    collector.hold.clear()
    sending = telemetry(metrics=False, logs=False)
    run(*range(200))
    # 600 spans: 16 are being sent, 16 wait, and all others found no room; the sender may not have begun yet.
    assert 600 - 32 <= sending.shed["traces"] <= 600 - 16
    assert any(event.reason == "the queue is full" for event in shed_events(collector))
    assert sending.flush(0.01) is False
    sending.close(0.01)
    assert is_tracing_enabled() is False


@pytest.mark.req("X1")
def test_nobody_there_is_no_error_of_the_run(
    collector: Collector, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.01")
    sending = telemetry(metrics=False, logs=False)
    report = run(1).report()
    assert report is not None
    assert (report.reason, report.errors) == ("finished", [])
    sending.close()
    assert sending.shed == {"traces": 3}


def test_an_exporter_that_raises_is_counted(collector: Collector):
    exporting = pytest.importorskip("opentelemetry.sdk.trace.export")

    class Raises(exporting.SpanExporter):  # type: ignore[misc, name-defined]  # the package is optional
        def export(self, spans: Any) -> Any:
            raise OSError("no")

    processor, books = adapter._bounded("traces", Raises(), 8, exporting.BatchSpanProcessor)
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("t").start_span("s").end()
    provider.force_flush()
    provider.shutdown()
    assert (books.shed, books.waiting) == (1, 0)


# --- life


@pytest.mark.req("X1")
def test_providers_of_the_application_are_used_and_left_as_they_are(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    sending = configure_opentelemetry(metrics=False, logs=False)
    with provider.get_tracer("app").start_as_current_span("job") as job:
        run(1)
    sending.close()
    assert sending.shed == {}
    spans = exporter.get_finished_spans()
    assert sorted(str((span.attributes or {}).get("meridian.node")) for span in spans) == [
        "None", "end", "half", "numbers",
    ]  # fmt: skip
    (first,) = (span for span in spans if span.name == "node.produce")
    assert [link.context.span_id for link in first.links] == [job.get_span_context().span_id]
    provider.get_tracer("app").start_span("after").end()
    assert exporter.get_finished_spans()[-1].name == "after"
    assert collector.asked == {}
    provider.shutdown()


def test_a_second_call_takes_over_and_the_first_closes_nothing_of_it(
    collector: Collector, telemetry: Callable[..., Telemetry]
):
    first, second = telemetry(metrics=False), telemetry(metrics=False)
    first.close()
    first.close()
    assert is_tracing_enabled() is True
    assert get_logger().also is second._writer
    run(1)
    second.close()
    assert len(collector.spans) == 3


SCRIPT = """
import os, sys
from meridian import Scheduler, graph, sink, source
from meridian.observability import configure
from meridian.observability.adapters.opentelemetry import configure_opentelemetry

configure("ERROR")
sending = configure_opentelemetry(metrics=False, logs=False, flush_s=60.0)

def run(name):
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name=name) >> sink(lambda n: None, name="end")))
    scheduler.run()

run("before")
if sys.argv[1] == "fork":
    child = os.fork()
    run("child" if child == 0 else "parent")
    if child == 0:
        sending.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
# and what is left is sent when the process ends
"""


@pytest.mark.req("X1")
@pytest.mark.parametrize("how", ["plain", "fork"])
def test_what_is_left_is_sent_at_the_end_of_the_process_and_of_a_forked_child(collector: Collector, how: str):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = [plain(span.attributes)["meridian.node"] for span in collector.spans]
    wanted = ["before"] if how == "plain" else ["before", "child", "parent"]
    assert sorted(name for name in names if name != "end") == wanted
    assert len({span.span_id for span in collector.spans}) == 2 * len(wanted)


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http"])
def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"meridian-runtime\[otel\]"):
        configure_opentelemetry()


@pytest.mark.req("X1", "N3")
def test_meridian_run_sends_what_it_runs(collector: Collector, tmp_path: Path):
    (tmp_path / "app.py").write_text(
        "from meridian import graph, sink, source\n"
        "def build():\n"
        "    return graph('g', source([1, 2], name='numbers') >> sink(lambda n: None, name='end'))\n"
    )
    command = [sys.executable, "-m", "meridian", "run", "app.py:build", "--otel", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(collector.spans) == 4
    assert collector.points("meridian.node.handled")["end",] == 2
    refused = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "zipkin"},
    )
    assert refused.returncode == 2
    assert "OTEL_TRACES_EXPORTER='zipkin'" in refused.stderr
