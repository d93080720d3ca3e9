"""The header by which a message says which span it comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.observability import traceparent
from meridian.observability.traceparent import Parent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.req("V16")
@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-03",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    ],
)
def test_a_header_of_a_trace_that_is_kept_names_trace_and_span(header: str):
    assert traceparent.read(header) == Parent(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        None,
        7,
        b"00",
        "",
        "-",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN[:-1]}g-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_anything_else_is_left_out(header: object):
    assert traceparent.read(header) is None


@given(st.text())
def test_every_trace_id_has_a_form_of_32_digits_that_is_always_the_same(trace_id: str):
    digits = traceparent.as_hex(trace_id)
    assert digits == traceparent.as_hex(trace_id)
    assert traceparent.read(traceparent.write(digits, SPAN)) == Parent(digits, SPAN)


def test_a_uuid_only_loses_its_dashes():
    uuid = traceparent.as_uuid(TRACE)
    assert uuid == "0af76519-16cd-43dd-8448-eb211c80319c"
    assert traceparent.as_hex(uuid) == traceparent.as_hex(uuid.upper()) == TRACE
