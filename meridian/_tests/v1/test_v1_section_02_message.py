"""Section 2 of the v1 contract: the envelope."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import time

import pytest

from meridian import Node
from meridian._tests.core.parts import (
    CONTROL,
    DATA,
    ERROR,
    Collect,
    TickBurst,
    chain,
    data,
    inputs,
    outputs,
    run,
)
from meridian.core.message import Message, MessageType, Scope, current_scope

pytestmark = pytest.mark.req("V1")

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.v1("L5")
def test_a_type_equals_its_name_but_prints_as_a_member():
    assert DATA == "DATA"
    assert CONTROL == "CONTROL"
    assert ERROR == "ERROR"
    assert isinstance(DATA, str)
    assert str(DATA) == f"{DATA}" == "MessageType.DATA"
    assert f"{DATA:s}" == "MessageType.DATA"
    assert repr(DATA) == "<MessageType.DATA: 'DATA'>"
    assert list(MessageType) == [DATA, CONTROL, ERROR]


def test_arguments_may_be_positional():
    made = Message(DATA, 1, {"m": 2}, {"h": 3})
    assert (made.type, made.payload, made.metadata, made.headers["h"]) == (DATA, 1, {"m": 2}, 3)


def test_arguments_may_be_named():
    made = Message(type=DATA, payload=1, metadata=None, headers={})
    assert (made.type, made.payload, made.metadata) == (DATA, 1, None)


def test_type_and_payload_are_required():
    with pytest.raises(TypeError):
        Message(DATA)
    with pytest.raises(TypeError):
        Message()


def test_trace_id_and_timestamp_are_added():
    before = time.time()
    made = Message(DATA, None)
    assert set(made.headers) == {"trace_id", "timestamp"}
    assert UUID4.fullmatch(made.headers["trace_id"])
    assert before <= made.headers["timestamp"] <= time.time()
    assert isinstance(made.headers["timestamp"], float)


def test_two_messages_have_two_trace_ids_and_one_message_keeps_its_own():
    one, other = Message(DATA, 1), Message(DATA, 1)
    assert one.get_trace_id() != other.get_trace_id()
    assert one.get_trace_id() == one.get_trace_id() == one.headers["trace_id"]


def test_keys_that_are_present_are_left_alone_even_when_none():
    made = Message(DATA, 1, headers={"trace_id": None, "timestamp": None})
    assert made.headers == {"trace_id": None, "timestamp": None}
    assert Message(DATA, 1, headers={"trace_id": "t"}).headers["trace_id"] == "t"
    assert Message(DATA, 1, headers={"timestamp": 5}).headers["timestamp"] == 5


def test_the_callers_dict_is_not_modified():
    given = {"a": 1}
    Message(DATA, 1, headers=given).headers
    assert given == {"a": 1}


@pytest.mark.v1("D35")
def test_headers_are_the_messages_own_even_when_nothing_was_added():
    given = {"trace_id": "t", "timestamp": 1.0}
    made = Message(DATA, 1, headers=given)
    given["x"] = 1
    assert made.headers == {"trace_id": "t", "timestamp": 1.0}


@pytest.mark.v1("D35")
def test_headers_read_like_a_dict_and_refuse_changes():
    headers = Message(DATA, 1, headers={"a": 1, "trace_id": "t", "timestamp": 1.0}).headers
    assert isinstance(headers, dict)
    assert headers == {"a": 1, "trace_id": "t", "timestamp": 1.0}
    assert headers.get("a") == 1
    assert "a" in headers
    assert list(headers) == ["a", "trace_id", "timestamp"]
    for change in (
        lambda: headers.__setitem__("a", 2),
        lambda: headers.__delitem__("a"),
        lambda: headers.update(a=2),
        lambda: headers.pop("a"),
        lambda: headers.popitem(),
        lambda: headers.clear(),
        lambda: headers.setdefault("b", 2),
        lambda: headers.__ior__({"a": 2}),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert headers == {"a": 1, "trace_id": "t", "timestamp": 1.0}
    assert {**headers, "a": 2}["a"] == 2
    assert (headers | {"a": 2})["a"] == 2


def test_assigning_or_deleting_a_field_raises():
    made = Message(DATA, 1)
    for field in ("type", "payload", "metadata", "headers"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, field)
    with pytest.raises((AttributeError, TypeError)):
        made.other = 1


def test_replace_changes_one_field_and_keeps_the_rest():
    made = Message(DATA, 1, {"m": 1}, {"a": 1})
    other = dataclasses.replace(made, payload=2)
    assert (other.type, other.payload, other.metadata, other.headers) == (DATA, 2, {"m": 1}, made.headers)
    assert made.payload == 1


def test_it_is_a_dataclass_with_four_fields():
    assert [field.name for field in dataclasses.fields(Message)] == ["type", "payload", "metadata", "headers"]
    made = Message(DATA, [1], None, {"trace_id": "t", "timestamp": 1.0})
    assert dataclasses.asdict(made) == {
        "type": DATA,
        "payload": [1],
        "metadata": None,
        "headers": {"trace_id": "t", "timestamp": 1.0},
    }


def test_it_matches_patterns_by_position():
    match Message(DATA, 5):
        case Message(MessageType.DATA, payload):
            assert payload == 5
        case _:
            pytest.fail("no match")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_gives_an_equal_message(protocol):
    made = Message(ERROR, {"a": [1]}, {"m": 1}, {"h": 1})
    again = pickle.loads(pickle.dumps(made, protocol))
    assert again == made
    assert again.type is ERROR
    assert again.headers == made.headers
    with pytest.raises(TypeError):
        again.headers["x"] = 1


def test_copies_are_equal_and_a_deep_copy_copies_the_payload():
    made = Message(DATA, [1], {"m": 1})
    shallow, deep = copy.copy(made), copy.deepcopy(made)
    assert shallow == made == deep
    assert shallow.payload is made.payload
    assert deep.payload is not made.payload


def test_copies_made_while_another_message_is_handled_change_nothing():
    made = Message(DATA, [1])
    made.headers
    scope = Scope()
    scope.handling = Message(DATA, 2)
    token = current_scope.set(scope)
    try:
        assert pickle.loads(pickle.dumps(made)) == made
        assert copy.copy(made) == copy.deepcopy(made) == made
    finally:
        current_scope.reset(token)


def test_kind_questions_go_by_type():
    for kind, answers in (
        (DATA, (True, False, False)),
        (CONTROL, (False, True, False)),
        (ERROR, (False, False, True)),
    ):
        made = Message(kind, None)
        assert (made.is_data(), made.is_control(), made.is_error()) == answers


def test_get_trace_id_is_text_and_empty_when_none():
    assert Message(DATA, 1, headers={"trace_id": "t"}).get_trace_id() == "t"
    assert Message(DATA, 1, headers={"trace_id": 7}).get_trace_id() == "7"
    assert Message(DATA, 1, headers={"trace_id": None}).get_trace_id() == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, 1.5), (2, 2.0), ("3.5", 3.5), (None, 0.0), ("soon", 0.0), ([], 0.0), (0, 0.0)],
)
def test_get_timestamp_is_a_float_and_zero_when_it_cant_be_one(value, expected):
    made = Message(DATA, 1, headers={"timestamp": value}).get_timestamp()
    assert made == expected
    assert isinstance(made, float)


def test_with_headers_merges_keeps_the_trace_and_shares_payload_and_metadata():
    payload, metadata = [1], {"m": 1}
    made = Message(DATA, payload, metadata, {"a": 1, "b": 1})
    other = made.with_headers(b=2, c=3)
    assert other.headers == {**made.headers, "b": 2, "c": 3}
    assert other.get_trace_id() == made.get_trace_id()
    assert other.payload is payload
    assert other.metadata is metadata
    assert made.headers["b"] == 1
    assert "c" not in made.headers
    assert made.with_headers(trace_id="t").get_trace_id() == "t"


@pytest.mark.v1("D35")
def test_equality_is_by_value_over_all_four_fields():
    headers = {"trace_id": "t", "timestamp": 1.0}
    made = Message(DATA, [1], {"m": 1}, headers)
    assert made == Message(DATA, [1], {"m": 1}, dict(headers))
    assert made != Message(ERROR, [1], {"m": 1}, headers)
    assert made != Message(DATA, [2], {"m": 1}, headers)
    assert made != Message(DATA, [1], None, headers)
    assert made != Message(DATA, [1], {"m": 1}, {**headers, "x": 1})
    assert made != "DATA"


@pytest.mark.v1("D35")
def test_it_is_not_hashable_as_its_equality_is_by_value():
    with pytest.raises(TypeError):
        hash(Message(DATA, 1))


@pytest.mark.v1("D35")
def test_it_is_generic():
    def annotated(msg: Message[int]) -> Message[str]:
        return Message(DATA, str(msg.payload))

    assert annotated(Message(DATA, 1)).payload == "1"
    assert Message[int](DATA, 1).payload == 1


def test_a_name_is_taken_for_the_type_and_anything_else_is_refused():
    made = Message("DATA", 1)
    assert made.type is DATA
    assert Message("CONTROL", 1).is_control()
    for wrong in ("data", "OTHER", None, 1):
        with pytest.raises(ValueError, match="DATA, CONTROL or ERROR"):
            Message(wrong, 1)


def test_neither_repr_nor_str_shows_the_payload_or_headers():
    made = Message(DATA, "secret-payload", {"m": "secret-meta"}, {"h": "secret-header"})
    assert repr(made) == str(made) == "Message(DATA, <str>)"


def test_a_subclass_keeps_its_class_and_may_have_attributes_of_its_own():
    class Tagged(Message[int]):
        def double(self) -> int:
            return self.payload * 2

    made = Tagged(DATA, 4)
    assert type(made) is Tagged
    assert made.double() == 8
    assert made.get_trace_id() == made.headers["trace_id"]
    assert type(pickle.loads(pickle.dumps(Message(DATA, 1)))) is Message


@pytest.mark.req("V16")
@pytest.mark.v1("D40")
def test_a_message_made_in_a_handler_inherits_the_trace_and_names_its_parent():
    class Double(Node):
        def _handle_message(self, port, msg):
            self.emit("out", Message(DATA, msg.payload * 2))

    sent = data(1)
    out = Collect("c")
    run(chain(TickBurst("t", [sent]), Double("d", inputs("in"), outputs("out")), out))
    assert out.got == [2]
    assert out.messages[0].get_trace_id() == sent.get_trace_id()
    assert out.messages[0].get_parent_id() == sent.get_id()


@pytest.mark.req("V16")
@pytest.mark.v1("D40")
def test_an_explicit_trace_id_wins_over_the_one_being_handled():
    class Fresh(Node):
        def _handle_message(self, port, msg):
            self.emit("out", Message(DATA, 2, headers={"trace_id": "mine"}))

    out = Collect("c")
    run(chain(TickBurst("t", [1]), Fresh("d", inputs("in"), outputs("out")), out))
    assert out.messages[0].get_trace_id() == "mine"
