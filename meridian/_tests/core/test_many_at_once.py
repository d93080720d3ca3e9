"""`Edge.put_many` and `Edge.take_many`: what many calls would do, in one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Edge, Message, MessageType, Port, PortDirection, PortSpec, block, drop, latest
from meridian.core.policies import Coalesce, PutResult

pytestmark = pytest.mark.req("V3", "V4", "V7", "N2.1")

POLICIES = {"block": block, "drop": drop, "latest": latest, "coalesce": lambda: Coalesce(lambda a, b: (a, b))}


def an_edge(capacity: int = 3, **options: Any) -> Edge[Any]:
    return Edge(
        "a", Port("out", PortDirection.OUTPUT), "b", Port("in", PortDirection.INPUT), capacity, **options
    )


def shown(item: Any) -> Any:
    return (item.type.name, item.payload) if isinstance(item, Message) else item


def counts(edge: Edge[Any]) -> Any:
    ring = edge.ring()
    return ring.taken, ring.merged, dict(ring.lost or {}), [shown(item) for item in ring.items]


@given(
    policy=st.sampled_from(sorted(POLICIES)),
    capacity=st.integers(1, 4),
    batches=st.lists(st.lists(st.integers(0, 9) | st.just("control"), max_size=6), max_size=4),
    taken=st.integers(0, 5),
    limited=st.booleans(),
)
def test_many_at_once_are_the_same_as_one_after_the_other(
    policy: str, capacity: int, batches: list[list[Any]], taken: int, limited: bool
):
    options: dict[str, Any] = {"default_policy": POLICIES[policy]()}
    if limited:
        options |= {"max_bytes": 6, "size": lambda item: 1 + (item == 9)}
    one, many = an_edge(capacity, **options), an_edge(capacity, **options)
    for batch in batches:
        items = [
            Message(MessageType.CONTROL, n) if item == "control" else item for n, item in enumerate(batch)
        ]
        n = 0
        for item in items:
            if one.try_put(item) is PutResult.BLOCKED:
                break
            n += 1
        assert many.put_many(items) == n
        got = [one.try_get() for _ in range(min(taken, one.depth()))]
        assert [shown(item) for item in many.take_many(taken)] == [shown(item) for item in got]
        assert counts(many) == counts(one)


def test_what_a_blocking_edge_has_no_room_for_is_still_the_callers():
    edge = an_edge(default_policy=block())
    assert edge.put_many(range(5)) == 3
    assert edge.take_many(2) == [0, 1]
    assert edge.put_many(iter([3, 4, 5])) == 2
    assert edge.take_many(9) == [2, 3, 4]
    assert edge.take_many(9) == []


def test_an_edge_that_never_held_anything_has_nothing_to_take():
    assert an_edge().take_many(3) == []


def test_a_policy_for_one_call_overrules_the_edges_own():
    edge = an_edge(2, default_policy=block())
    assert edge.put_many([1, 2, 3], latest()) == 3
    assert edge.take_many(5) == [2, 3]


def test_one_payload_that_does_not_fit_leaves_the_edge_as_it_was():
    edge = an_edge(spec=PortSpec("n", int))
    with pytest.raises(TypeError, match="str"):
        edge.put_many([1, 2, "secret"])
    assert edge.depth() == 0


def test_one_item_that_is_too_large_leaves_the_edge_as_it_was():
    edge = an_edge(max_bytes=2)
    with pytest.raises(ValueError, match="larger than the edge"):
        edge.put_many([b"1", b"four"])
    assert edge.depth() == 0


@pytest.mark.req("V6")
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_size_of_each_item_is_asked_once(policy: str):
    asked: list[Any] = []

    def size(item: Any) -> int:
        asked.append(item)
        return 1

    edge = an_edge(5, default_policy=POLICIES[policy](), max_bytes=3, max_age_s=9, size=size)
    edge.try_put(1)
    assert (edge.put_many([2, 3]), asked) == (2, [1, 2, 3])
    assert (edge.depth(), edge.ring().bytes) == (3, 3)


@pytest.mark.req("V6")
def test_a_size_that_changes_is_the_one_that_was_told_first():
    sizes = iter([1, 2, 100, 100])
    edge = an_edge(default_policy=block(), max_bytes=3, size=lambda item: next(sizes))
    assert edge.put_many(["a", "b"]) == 2
    assert edge.ring().bytes == 3
    assert edge.take_many(1) == ["a"]
    assert edge.ring().bytes == 2


@pytest.mark.req("V6")
def test_a_control_message_has_no_size():
    edge = an_edge(default_policy=block(), max_bytes=1, size=lambda item: 2)
    assert edge.try_put(Message(MessageType.CONTROL, "now")) is PutResult.OK
    assert edge.put_many([Message(MessageType.CONTROL, "then")]) == 1
    assert edge.ring().bytes == 0


def test_a_policy_that_fails_keeps_what_was_put_before():
    class Fussy:
        def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
            if item == 3:
                raise ZeroDivisionError
            return PutResult.OK

    edge = an_edge(default_policy=Fussy())
    with pytest.raises(ZeroDivisionError):
        edge.put_many([1, 2, 3])
    assert edge.take_many(5) == [1, 2]


@pytest.mark.parametrize("n", [-1, -100])
def test_a_negative_number_is_refused(n: int):
    with pytest.raises(ValueError, match=f"n is {n}, it has to be 0 or more"):
        an_edge().take_many(n)
