"""What a snapshot is made plain by is quick, and so is the way through the socket; what comes of it is what the obvious way gives, byte for byte."""

import json
from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.introspect import Snapshot
from meridian.introspect.look import tell
from meridian.introspect.model import as_plain, from_plain
from meridian.introspect.taken import Fixed, Numbers, told
from meridian.introspect.wire import line
from meridian.redaction import redactor
from meridian.runtime.counts import EdgeCounts, NodeCounts

TEXTS = st.text(max_size=8) | st.sampled_from(
    ["NORMAL", "a:output->b:input", "jo@example.com", "4111 1111 1111 1111"]
)
PLAIN = {
    str: TEXTS,
    int: st.integers(-1, 1 << 63),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


MEASURED = {**PLAIN, float: st.integers(0, 10**9).map(lambda n: n / 1000)}
"""What rates can be taken of."""


def drawn(kind, plain=PLAIN):
    """Return a strategy for values of a declared type."""
    if kind in plain:
        return plain[kind]
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind._fields
        hints = get_type_hints(kind)
        return st.builds(kind, **{name: drawn(hints[name], plain) for name in names})
    inner = get_args(kind)
    if get_origin(kind) is tuple:
        return st.lists(drawn(inner[0], plain), max_size=2).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(*(drawn(each, plain) for each in inner), max_size=2)
    return st.one_of(*(drawn(each, plain) for each in inner))


def obviously_plain(value):
    if isinstance(value, str):
        return redactor().text(value)
    if isinstance(value, dict):
        return {obviously_plain(key): obviously_plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [obviously_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: obviously_plain(getattr(value, field.name)) for field in fields(value)}
    return value


@pytest.mark.req("N7", "X2")
@given(shot=drawn(Snapshot))
def test_a_snapshot_is_the_same_bytes_as_if_it_were_made_plain_one_value_at_a_time(shot):
    expected = json.dumps(obviously_plain(shot), separators=(",", ":"))
    assert shot.as_json() == expected
    assert line(shot.as_dict()) == expected.encode() + b"\n"
    assert "jo@example.com" not in expected
    assert "4111 1111" not in expected


@st.composite
def taken(draw):
    """What was taken from a run, with numbers that fit what is fixed of it."""
    of = draw(drawn(Fixed, MEASURED))
    nodes, edges = len(of.nodes), len(of.edges) if of.nodes else 0
    place = st.integers(0, max(nodes - 1, 0))
    counts = drawn(EdgeCounts, MEASURED).map(
        lambda each: each._replace(band=each.band % 3, hop_ns=(1, 2, 3, 4))
    )
    of = replace(
        of,
        weights=(4, 2, 1),
        edges=tuple(each._replace(source=draw(place), target=draw(place)) for each in of.edges[:edges]),
    )
    waits_for = st.none() | st.integers(0, edges - 1) if edges else st.none()

    def numbers():
        return replace(
            draw(drawn(Numbers, MEASURED)),
            ready=(1, 0, 2),
            nodes=tuple(
                draw(drawn(NodeCounts, MEASURED))._replace(waits_for=draw(waits_for)) for _ in range(nodes)
            ),
            edges=tuple(draw(counts) for _ in range(edges)),
        )

    return of, numbers(), numbers()


def through_the_socket(kind, plain):
    return from_plain(kind, json.loads(line(plain)))


@pytest.mark.req("N7")
@given(taken())
def test_numbers_that_went_through_the_socket_tell_what_they_tell_inside_as_far_as_the_policy_shows_it(
    of_run,
):
    of, *both = of_run
    inside = outside = None
    for numbers in both:
        inside = tell(of, numbers, inside)
        outside = tell(
            through_the_socket(Fixed, as_plain(of)), through_the_socket(Numbers, told(numbers)), outside
        )
        assert outside.as_json() == inside.as_json()
