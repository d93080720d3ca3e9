"""The small policies: what they decide, what they are called, and what is no policy."""

import pytest

from meridian.core.policies import (
    BackpressureStrategy,
    Block,
    Coalesce,
    Drop,
    Latest,
    PutResult,
    RoutingPolicy,
    as_policy,
    block,
    coalesce,
    drop,
    latest,
    policy_name,
)

ALL = [
    (block(), PutResult.BLOCKED),
    (drop(), PutResult.DROPPED),
    (latest(), PutResult.REPLACED),
    (coalesce(max), PutResult.COALESCED),
]


class Own:
    def on_enqueue(self, capacity: int, size: int, item: object) -> PutResult:
        return PutResult.OK


@pytest.mark.req("V3")
@pytest.mark.parametrize(("policy", "when_full"), ALL, ids=repr)
@pytest.mark.parametrize("capacity", [1, 2, 65_537])
def test_an_item_is_taken_while_there_is_room_and_then_the_policy_says_what_becomes_of_it(
    policy, when_full, capacity
):
    decided = [policy.on_enqueue(capacity, size, None) for size in (0, capacity - 1, capacity, capacity + 1)]
    assert decided == [PutResult.OK, PutResult.OK, when_full, when_full]


def test_policies_say_how_they_are_made():
    shown = [repr(policy) for policy, _ in ALL]
    assert shown == ["block()", "drop()", "latest()", "coalesce(max)"]
    assert repr(coalesce(max, on="message")) == "coalesce(max, on='message')"


def test_a_function_without_a_name_is_shown_by_its_class():
    class Merge:
        def __call__(self, old: object, new: object) -> object:
            return new

    assert repr(coalesce(Merge())) == "coalesce(Merge)"


def test_coalesce_merges_payloads_unless_it_is_told_otherwise():
    assert coalesce(max) == Coalesce(max, "payload")
    assert coalesce(max, on="message") == Coalesce(max, "message")
    with pytest.raises(ValueError, match=r"^coalesce\(on='envelope'\): use 'payload' or 'message'$"):
        coalesce(max, on="envelope")


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("block", Block),
        ("drop", Drop),
        ("latest", Latest),
        (BackpressureStrategy.BLOCK, Block),
        (BackpressureStrategy.DROP, Drop),
    ],
)
def test_a_policy_may_be_called_by_its_name(said, made):
    assert type(as_policy(said)) is made


def test_a_policy_is_taken_as_it_is_and_none_is_left_to_the_place():
    own = Own()
    assert as_policy(own) is own
    assert as_policy(None) is None


def test_a_class_is_no_policy_and_the_error_says_what_to_pass():
    with pytest.raises(TypeError, match=r"^policy Latest is a class: pass an instance, such as latest\(\)$"):
        as_policy(Latest)


@pytest.mark.parametrize("said", ["Block", 3, object], ids=["a name", "a number", "a class"])
def test_what_is_no_policy_is_refused(said):
    with pytest.raises(TypeError):
        as_policy(said)


def test_the_error_about_what_is_no_policy_lists_what_is():
    with pytest.raises(TypeError) as raised:
        as_policy(3)
    assert str(raised.value) == (
        "3 is not an overflow policy: use block(), drop(), latest(), coalesce(fn), their names, "
        "or an object with on_enqueue(capacity, size, item)"
    )


def test_reports_call_a_policy_by_its_class_and_none_the_default():
    assert [policy_name(policy) for policy, _ in ALL] == ["block", "drop", "latest", "coalesce"]
    assert policy_name(Own()) == "own"
    assert policy_name(None) == "block"


def test_a_route_is_the_items_own_key_or_the_default_one():
    class Letter:
        def route_key(self) -> str:
            return "north"

    assert RoutingPolicy().select(Letter()) == "north"
    assert RoutingPolicy().select("a letter") == "default"
    assert RoutingPolicy("south").select("a letter") == "south"
