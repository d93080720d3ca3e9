from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meridian.observability import context
from meridian.observability.tracing import (
    InMemoryTracer,
    NoopSpan,
    NoopTracer,
    Span,
    TracingConfig,
    configure_tracing,
    get_span_id,
    get_trace_id,
    get_tracer,
    is_tracing_enabled,
    set_trace_id,
    start_span,
)


def in_memory(**config: Any) -> InMemoryTracer:
    configure_tracing(TracingConfig(enabled=True, provider="inmemory", **config))
    tracer = get_tracer()
    assert isinstance(tracer, InMemoryTracer)
    return tracer


# --- spans


def test_a_span_has_ids_attributes_and_a_start():
    before = time.time()
    span = Span("name", "t", "s", {"a": 1})
    assert (span.name, span.trace_id, span.span_id, span.parent_id, span.attributes) == (
        "name",
        "t",
        "s",
        None,
        {"a": 1},
    )
    assert before <= span.start_time <= time.time()
    assert span.end_time is None
    assert span.is_finished() is False
    assert span.duration_s >= 0.0


def test_a_finished_span_changes_no_more():
    span = Span("name", "t", "s")
    span.set_attribute("a", 1)
    span.set_error("KeyError")
    span.finish()
    end = span.end_time
    assert end is not None
    span.set_attribute("b", 2)
    span.set_error("ValueError")
    span.finish()
    assert (span.attributes, span.error_type, span.end_time, span.is_finished()) == (
        {"a": 1},
        "KeyError",
        end,
        True,
    )
    assert span.duration_s == end - span.start_time >= 0.0


def test_a_span_copies_the_attributes_it_is_given():
    given_attributes = {"a": 1}
    Span("name", "t", "s", given_attributes).set_attribute("b", 2)
    assert given_attributes == {"a": 1}


@pytest.mark.req("X2")
def test_the_repr_of_a_span_shows_no_attributes():
    assert repr(Span("name", "t", "s", {"a": "4111"})) == "Span('name', trace_id='t', span_id='s')"


def test_a_noop_span_notes_nothing_and_is_never_finished():
    span = NoopSpan("name")
    span.set_attribute("a", 1)
    span.set_error("KeyError")
    span.activate()
    span.deactivate()
    span.finish()
    assert isinstance(span, Span)
    assert (span.name, span.trace_id, span.span_id, span.attributes, span.is_finished()) == (
        "name",
        "",
        "",
        {},
        False,
    )
    assert (span.error_type, span.duration_s) == (None, 0.0)


# --- off


def test_tracing_is_off_out_of_the_box():
    assert isinstance(get_tracer(), NoopTracer)
    assert is_tracing_enabled() is False
    assert get_tracer().is_enabled() is False


def test_a_block_while_tracing_is_off_gets_a_noop_span_and_leaves_the_context():
    set_trace_id("t")
    with start_span("name", {"a": 1}) as span:
        assert (type(span), span.name) == (NoopSpan, "name")
        assert (get_trace_id(), get_span_id()) == ("t", None)


def test_a_tracer_that_is_not_enabled_keeps_nothing():
    tracer = InMemoryTracer(TracingConfig(enabled=False, provider="inmemory"))
    assert type(tracer.start_span("name")) is NoopSpan
    assert tracer.is_enabled() is False
    assert tracer.get_spans() == []


def test_configured_but_not_enabled_is_off():
    configure_tracing(TracingConfig(enabled=False, provider="inmemory", sample_rate=1.0))
    assert is_tracing_enabled() is False


def test_the_default_configuration_is_v1s():
    config = TracingConfig()
    assert (config.enabled, config.provider, config.sample_rate) == (False, "noop", 0.0)


@pytest.mark.req("X1")
@pytest.mark.v1("D46")
def test_an_unknown_provider_traces_nothing_and_says_so(records: Any):
    configure_tracing(TracingConfig(enabled=True, provider="jaeger", sample_rate=1.0))
    assert isinstance(get_tracer(), NoopTracer)
    assert is_tracing_enabled() is False
    (record,) = records()
    assert (record["event"], record["level"], record["provider"]) == (
        "tracing.provider_unknown",
        "WARN",
        "jaeger",
    )


def test_the_noop_provider_says_nothing(records: Any):
    configure_tracing(TracingConfig(enabled=True, provider="noop"))
    assert is_tracing_enabled() is False
    assert records() == []


@pytest.mark.parametrize(
    "bad", [{"sample_rate": 1.1}, {"sample_rate": -0.1}, {"sample_rate": float("nan")}, {"max_spans": 0}]
)
def test_numbers_out_of_range_are_refused_and_change_nothing(bad: dict[str, Any]):
    tracer = in_memory()
    with pytest.raises(ValueError, match=next(iter(bad))):
        configure_tracing(TracingConfig(enabled=True, provider="inmemory", **bad))
    assert get_tracer() is tracer


# --- in memory


@pytest.mark.v1("D42")
def test_a_block_records_a_finished_span():
    tracer = in_memory(sample_rate=1.0)
    with start_span("node.on_message", {"node": "n"}) as span:
        assert tracer.spans == [span]
        assert span.is_finished() is False
        assert (get_trace_id(), get_span_id()) == (span.trace_id, span.span_id)
    assert (get_trace_id(), get_span_id()) == (None, None)
    assert (span.name, span.attributes, span.parent_id, span.is_finished()) == (
        "node.on_message",
        {"node": "n"},
        None,
        True,
    )
    assert len(span.span_id) == 16
    assert is_tracing_enabled() is True


def test_spans_are_kept_when_nobody_states_a_rate():
    tracer = in_memory()
    with start_span("name"):
        pass
    assert len(tracer.get_spans()) == 1


def test_tracers_made_without_configuration_are_ready_to_use():
    tracer = InMemoryTracer()
    tracer.start_span("name").finish()
    assert [span.name for span in tracer.spans] == ["name"]


@pytest.mark.req("V16")
@pytest.mark.v1("D42")
def test_nested_spans_share_the_trace_and_know_their_parent():
    in_memory()
    with start_span("outer") as outer:
        with start_span("inner") as inner:
            assert get_span_id() == inner.span_id
        assert get_span_id() == outer.span_id
        with start_span("second") as second:
            pass
    assert inner.trace_id == outer.trace_id == second.trace_id
    assert inner.parent_id == second.parent_id == outer.span_id
    assert len({outer.span_id, inner.span_id, second.span_id}) == 3


@pytest.mark.req("V16")
def test_a_span_takes_the_trace_id_of_the_context():
    in_memory()
    set_trace_id("t")
    with start_span("name") as span:
        assert span.trace_id == "t"
    assert get_trace_id() == "t"


@pytest.mark.req("V16")
def test_a_span_takes_the_trace_id_of_the_message_in_hand_but_not_a_stranger_as_parent():
    in_memory()
    with start_span("scheduler.loop_iteration") as loop:
        context.install_handled(lambda: context.Handled("m1", {}, "marker"))
        with start_span("node.on_message") as span:
            pass
    assert (span.trace_id, span.parent_id) == ("m1", None)
    assert loop.trace_id != "m1"


@pytest.mark.req("V16")
def test_parents_are_known_across_tasks():
    in_memory()

    async def child() -> Span:
        with start_span("child") as span:
            return span

    async def main() -> tuple[Span, Span]:
        with start_span("parent") as parent:
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        return parent, await task

    parent, span = asyncio.run(main())
    assert (span.trace_id, span.parent_id) == (parent.trace_id, parent.span_id)


@pytest.mark.req("X2")
def test_a_raising_block_finishes_its_span_with_the_class_only():
    in_memory()
    with pytest.raises(ValueError, match="4111"), start_span("name") as span:
        raise ValueError("4111")
    assert span.is_finished() is True
    assert span.error_type == "ValueError"
    assert span.attributes == {}
    assert get_span_id() is None


@pytest.mark.req("X1")
@pytest.mark.v1("D42")
def test_memory_is_bounded_and_what_was_shed_is_counted():
    tracer = in_memory(max_spans=3)
    for number in range(5):
        with start_span(str(number)):
            pass
    assert [span.name for span in tracer.get_spans()] == ["2", "3", "4"]
    assert tracer.shed == 2
    tracer.clear_spans()
    assert (tracer.spans, tracer.shed) == ([], 0)


def test_ten_thousand_spans_are_kept_by_default():
    assert TracingConfig().max_spans == 10_000


def test_the_list_of_spans_is_a_copy():
    tracer = in_memory()
    tracer.start_span("name")
    tracer.get_spans().clear()
    assert len(tracer.spans) == 1


def test_reconfiguring_inside_a_block_still_restores_the_context():
    in_memory()
    with start_span("name") as span:
        configure_tracing(TracingConfig())
    assert span.is_finished() is True
    assert (get_trace_id(), get_span_id()) == (None, None)


# --- sampling


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 0), (1.0, 20)])
@pytest.mark.v1("D42")
def test_rate_zero_keeps_nothing_and_rate_one_everything(rate: float, kept: int):
    tracer = in_memory(sample_rate=rate)
    for number in range(20):
        set_trace_id(None if number % 2 else str(number))
        with start_span("name"):
            pass
    assert len(tracer.spans) == kept


def test_a_seed_repeats_the_choice():
    choices = []
    for _ in range(2):
        tracer = in_memory(sample_rate=0.5, seed=7)
        for number in range(100):
            with start_span(str(number)):
                pass
        choices.append([span.name for span in tracer.spans])
    assert choices[0] == choices[1]
    assert 30 <= len(choices[0]) <= 70


@pytest.mark.req("V16")
@given(st.text(), st.integers(0, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_trace_is_kept_as_a_whole_or_not_at_all(trace_id: str, seed: int):
    tracer = InMemoryTracer(TracingConfig(enabled=True, sample_rate=0.5, seed=seed))
    set_trace_id(trace_id)
    for _ in range(5):
        tracer.start_span("hop")
    assert len(tracer.spans) in (0, 5)


@pytest.mark.parametrize("ids", ["sequential", "uuid"])
def test_about_the_stated_share_of_traces_is_kept(ids: str):
    tracer = InMemoryTracer(TracingConfig(enabled=True, sample_rate=0.25, seed=1))
    from random import Random

    random = Random(1)
    for number in range(2000):
        set_trace_id(f"order-{number}" if ids == "sequential" else context.generate_trace_id(random))
        tracer.start_span("name")
    assert 400 <= len(tracer.spans) <= 600


def test_what_is_within_a_span_that_was_left_out_is_left_out():
    tracer = in_memory(sample_rate=0.5, seed=3)
    for _ in range(50):
        with start_span("outer") as outer:
            with start_span("inner") as inner:
                assert type(inner) is type(outer)
            if type(outer) is NoopSpan:
                assert inner is outer
                assert (get_trace_id(), get_span_id()) == (None, None)
    names = [span.name for span in tracer.spans]
    assert names.count("inner") == names.count("outer") > 0
