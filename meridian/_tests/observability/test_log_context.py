from __future__ import annotations

import asyncio
import re
from random import Random
from typing import Any

import pytest

from meridian.observability import context, tracing
from meridian.observability import logging as log
from meridian.observability.context import Handled, get_trace_id, set_trace_id, with_context

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def handle(trace_id: str | None, marker: object, **fields: object) -> None:
    context.install_handled(lambda: Handled(trace_id, fields, marker))


def test_there_is_no_trace_id_out_of_the_box():
    assert get_trace_id() is None


@pytest.mark.req("V16")
@pytest.mark.v1("D41")
def test_logging_and_tracing_share_one_trace_context():
    log.set_trace_id("from-logging")
    assert tracing.get_trace_id() == "from-logging"
    tracing.set_trace_id("from-tracing")
    assert log.get_trace_id() == "from-tracing"


def test_none_clears_the_trace_id():
    set_trace_id("t")
    set_trace_id(None)
    assert get_trace_id() is None


@pytest.mark.v1("D38")
def test_context_fields_nest_and_are_restored():
    with with_context(node="a", anything=1):
        with with_context(node="b"):
            assert context.log_fields() == {"node": "b", "anything": 1}
        assert context.log_fields() == {"node": "a", "anything": 1}
    assert context.log_fields() == {}


def test_context_fields_are_restored_when_the_block_raises():
    with pytest.raises(KeyError), with_context(node="a"):
        raise KeyError
    assert context.log_fields() == {}


def test_a_trace_id_given_as_context_field_is_the_trace_id():
    set_trace_id("outer")
    with with_context(trace_id="inner", node="n"):
        assert get_trace_id() == "inner"
        assert list(context.log_fields().items()) == [("trace_id", "inner"), ("node", "n")]
    assert get_trace_id() == "outer"


def test_none_as_context_trace_id_leaves_it_as_it_is():
    set_trace_id("outer")
    with with_context(trace_id=None):
        assert context.log_fields() == {"trace_id": "outer"}


@pytest.mark.req("V16")
def test_a_task_sees_the_context_it_was_started_in():
    async def main() -> dict[str, object]:
        with with_context(trace_id="t", node="n"):
            task = asyncio.create_task(asyncio.to_thread(context.log_fields))
        return await task

    assert asyncio.run(main()) == {"trace_id": "t", "node": "n"}


def test_a_block_that_ends_in_another_context_is_no_error(elsewhere: Any):
    block = with_context(trace_id="t", node="n")
    elsewhere(block.__enter__)
    block.__exit__(None, None, None)
    assert context.log_fields() == {}


@pytest.mark.req("V16")
def test_the_message_in_hand_is_the_context():
    handle("m1", object(), node="n", port="in")
    assert get_trace_id() == "m1"
    assert context.log_fields() == {"trace_id": "m1", "node": "n", "port": "in"}


def test_a_context_field_hides_the_handled_one():
    handle(None, object(), node="n")
    with with_context(node="mine"):
        assert context.log_fields() == {"node": "mine"}


@pytest.mark.req("V16")
def test_the_message_in_hand_wins_over_what_was_set_before():
    set_trace_id("before")
    handle("m1", object())
    assert get_trace_id() == "m1"


@pytest.mark.req("V16")
def test_what_a_handler_sets_holds_until_the_next_message():
    handle("m1", "first")
    set_trace_id("mine")
    assert get_trace_id() == "mine"
    handle("m2", "second")
    assert get_trace_id() == "m2"
    handle(None, "third")
    assert get_trace_id() is None


def test_clearing_in_a_handler_brings_the_message_back():
    handle("m1", "first")
    set_trace_id("mine")
    set_trace_id(None)
    assert get_trace_id() == "m1"


@pytest.mark.v1("D40")
def test_what_a_handler_set_is_gone_after_it():
    handle("m1", "first")
    set_trace_id("mine")
    context.install_handled(None)
    assert get_trace_id() is None


def test_a_message_without_trace_leaves_the_outer_one():
    set_trace_id("outer")
    handle(None, object())
    assert get_trace_id() == "outer"


def test_a_generated_trace_id_is_a_dashed_uuid4():
    made = {context.generate_trace_id() for _ in range(200)}
    assert len(made) == 200
    assert all(UUID4.fullmatch(trace_id) for trace_id in made)


def test_a_generated_trace_id_repeats_with_its_seed():
    first = context.generate_trace_id(Random(7))
    assert first == context.generate_trace_id(Random(7))
    assert UUID4.fullmatch(first)


def test_generation_changes_with_each_configuration():
    seen = [context.generation()]
    from meridian.observability import configure, configure_metrics, configure_tracing
    from meridian.observability.metrics import NoopMetrics
    from meridian.observability.tracing import TracingConfig

    configure("INFO")
    seen.append(context.generation())
    configure_metrics(NoopMetrics())
    seen.append(context.generation())
    configure_tracing(TracingConfig())
    seen.append(context.generation())
    assert seen == sorted(set(seen))


def test_generation_stays_when_a_configuration_is_refused():
    from meridian.observability import configure

    before = context.generation()
    with pytest.raises(ValueError, match="LOUD"):
        configure("LOUD")
    assert context.generation() == before
