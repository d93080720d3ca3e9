"""Spans that go to OpenTelemetry, with its real SDK."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian.observability import context, traceparent, tracing
from meridian.observability.otel_spans import OpenTelemetrySpan, OpenTelemetryTracer
from meridian.observability.tracing import (
    NoopSpan,
    TracingConfig,
    configure_tracing,
    get_tracer,
    is_tracing_enabled,
    set_trace_id,
    start_span,
)

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
otel_trace = pytest.importorskip("opentelemetry.trace")

Tracing = Callable[..., Callable[[], Any]]


@pytest.fixture
def tracing_to() -> Iterator[Tracing]:
    """Switches tracing on, to a provider of the test's own; returns what tells the finished spans."""
    made: list[Any] = []

    def switch_on(**config: Any) -> Callable[[], Any]:
        exporter, provider = memory.InMemorySpanExporter(), sdk.TracerProvider(**config.pop("provider", {}))
        provider.add_span_processor(export.SimpleSpanProcessor(exporter))
        made.append(provider)
        tracing.use_tracer(
            OpenTelemetryTracer(TracingConfig(enabled=True, provider="opentelemetry", **config), provider)
        )
        return exporter.get_finished_spans  # type: ignore[no-any-return]  # the package is optional

    yield switch_on
    for provider in made:
        provider.shutdown()


@pytest.mark.req("X1")
def test_opentelemetry_gets_spans_with_their_attributes(tracing_to: Tracing):
    finished = tracing_to()
    assert is_tracing_enabled() is True
    with start_span("node.on_message", {"node": "n", "payload": object()}) as span:
        span.set_attribute("count", 3)
        assert isinstance(span, OpenTelemetrySpan)
        assert otel_trace.get_current_span() is span.otel_span
    assert not otel_trace.get_current_span().get_span_context().is_valid
    (sent,) = finished()
    assert (span.trace_id, span.span_id) == (f"{sent.context.trace_id:032x}", f"{sent.context.span_id:016x}")
    assert dict(sent.attributes) == {
        "meridian.node": "n",
        "payload": "[redacted:payload_key]",
        "count": 3,
        "meridian.trace_id": span.trace_id,
    }
    assert (sent.name, sent.status.status_code.name, sent.instrumentation_scope.name) == (
        "node.on_message",
        "UNSET",
        "meridian",
    )


@pytest.mark.req("V16")
@pytest.mark.parametrize("given", ["t", "0af76519-16cd-43dd-8448-eb211c80319c"])
def test_opentelemetry_has_the_trace_id_of_the_context(tracing_to: Tracing, given: str):
    finished = tracing_to()
    set_trace_id(given)
    with start_span("outer") as outer, start_span("inner") as inner:
        pass
    sent_inner, sent_outer = finished()
    assert (outer.trace_id, inner.trace_id, inner.parent_id) == (given, given, outer.span_id)
    assert sent_inner.parent.span_id == sent_outer.context.span_id
    for sent in (sent_inner, sent_outer):
        assert f"{sent.context.trace_id:032x}" == traceparent.as_hex(given)
        assert sent.attributes["meridian.trace_id"] == given


def test_a_span_of_another_trace_is_no_child_of_the_one_around(tracing_to: Tracing):
    finished = tracing_to()
    set_trace_id("a")
    with start_span("outer"):
        set_trace_id("b")
        with start_span("inner"):
            pass
    inner, outer = finished()
    assert inner.parent is None
    assert inner.context.trace_id != outer.context.trace_id


@pytest.mark.req("X2")
def test_opentelemetry_learns_the_class_and_place_of_an_error_but_not_its_text(tracing_to: Tracing):
    finished = tracing_to()
    with pytest.raises(ValueError, match="4111"), start_span("outer"), start_span("inner", {"n": 1}):
        raise ValueError("4111 1111 1111 1111")
    for sent in finished():
        assert (sent.status.status_code.name, sent.status.description) == ("ERROR", "ValueError")
        (event,) = sent.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "ValueError"
        assert event.attributes["exception.message"] == "[redacted]"
        assert "test_otel_spans.py" in event.attributes["meridian.where"]
        assert "4111 1111" not in sent.to_json()


@pytest.mark.req("X2")
def test_a_secret_in_the_name_of_a_class_or_a_function_is_not_sent_with_its_error(tracing_to: Tracing):
    finished = tracing_to()
    token = "ghp_Zq8wX2nV5cR7tY1uI3oP6aS9dF4gH0jKlMnB"
    failure = type(f"Failed_{token}", (Exception,), {})
    source = f"def f_{token}():\n    raise failure"
    names = {"failure": failure}
    exec(source, names)
    with pytest.raises(failure), start_span("outer"):
        names[f"f_{token}"]()
    (sent,) = finished()
    assert "[redacted:random_token]" in sent.status.description
    assert "[redacted:random_token]" in sent.events[0].attributes["exception.type"]
    assert "[redacted:random_token]" in sent.events[0].attributes["meridian.where"]
    assert token not in sent.to_json()


def test_a_finished_opentelemetry_span_changes_no_more(tracing_to: Tracing):
    finished = tracing_to()
    with start_span("name", {"a": 1}) as span:
        pass
    span.set_attribute("b", 2)
    span.set_error("KeyError")
    span.record_error(KeyError("k"))
    span.add_link(span.traceparent)
    span.finish()
    (sent,) = finished()
    assert (sent.attributes["a"], "b" in sent.attributes) == (1, False)
    assert (sent.status.status_code.name, sent.events, sent.links) == ("UNSET", (), ())


def test_a_link_that_names_no_span_is_left_out(tracing_to: Tracing):
    finished = tracing_to()
    trace, span_id = "a" * 32, "b" * 16
    with start_span("name") as span:
        for header in (
            "nonsense",
            traceparent.write(trace, traceparent.NO_SPAN),
            traceparent.write(trace, span_id),
        ):
            span.add_link(header)
    (link,) = finished()[0].links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (trace, span_id)
    assert span.links == [traceparent.write(trace, span_id)]


def test_opentelemetry_spans_are_sampled_before_they_are_made(tracing_to: Tracing):
    finished = tracing_to(sample_rate=0.0)
    with start_span("outer") as outer, start_span("inner"):
        assert type(outer) is NoopSpan
    assert finished() == ()


def test_what_the_provider_leaves_out_says_so_to_what_comes_after(tracing_to: Tracing):
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    finished = tracing_to(provider={"sampler": ALWAYS_OFF})
    assert get_tracer().begin_trace(context.generate_trace_id(), "name", {}) == ""
    with start_span("name") as span:
        assert span.traceparent == ""
        assert get_tracer().around() == (span.trace_id, "")
    assert finished() == ()


def test_the_ids_of_spans_are_the_same_again_for_the_same_seed(tracing_to: Tracing):
    made = []
    for _ in range(2):
        finished = tracing_to(seed=7)
        for name in ("a", "b"):
            set_trace_id(name)
            with start_span(name):
                pass
        made.append([(sent.context.trace_id, sent.context.span_id) for sent in finished()])
    assert made[0] == made[1]
    assert len({span for _, span in made[0]}) == 2


def test_other_spans_of_the_application_keep_their_own_ids(tracing_to: Tracing):
    tracing_to(seed=1)
    mine = get_tracer()._tracer  # type: ignore[attr-defined]  # whose generator is exchanged, and only its
    provider = sdk.TracerProvider()
    OpenTelemetryTracer(TracingConfig(enabled=True), provider)
    assert type(provider.get_tracer("app").id_generator) is sdk.RandomIdGenerator
    assert type(mine.id_generator) is not sdk.RandomIdGenerator


def test_an_opentelemetry_tracer_that_is_not_enabled_imports_nothing(
    monkeypatch: pytest.MonkeyPatch, records: Any
):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    tracer = OpenTelemetryTracer(TracingConfig(enabled=False))
    assert type(tracer.start_span("name")) is NoopSpan
    assert tracer.limit() == 0
    assert records() == []


@pytest.mark.req("X1")
@pytest.mark.v1("D46")
def test_without_the_package_tracing_is_off_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, records: Any
):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    configure_tracing(TracingConfig(enabled=True, provider="opentelemetry", sample_rate=1.0))
    assert isinstance(get_tracer(), OpenTelemetryTracer)
    assert is_tracing_enabled() is False
    with start_span("name") as span:
        assert type(span) is NoopSpan
    (record,) = records()
    assert (record["event"], record["level"]) == ("tracing.fallback", "WARN")
    assert "meridian-runtime[otel]" in record["message"]
