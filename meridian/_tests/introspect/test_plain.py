"""What a snapshot is made plain by is quick; what comes of it is what the obvious way gives, byte for byte."""

import json
from dataclasses import fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.introspect import Snapshot
from meridian.introspect.wire import line
from meridian.redaction import redactor

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


def drawn(kind):
    """Return a strategy for values of a declared type."""
    if kind in PLAIN:
        return PLAIN[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: drawn(hints[field.name]) for field in fields(kind)})
    inner = get_args(kind)
    if get_origin(kind) is tuple:
        return st.lists(drawn(inner[0]), max_size=2).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(*map(drawn, inner), max_size=2)
    return st.one_of(*map(drawn, inner))


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
