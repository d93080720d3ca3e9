"""The ring by itself, beside an engine that is only told: what the model of it (`test_ring_model.py`) doesn't look at.

Mutation testing asked for most of these (`make mutation ARGS="--module ring"`).
"""

from collections import deque
from threading import get_ident
from typing import Any, cast

import pytest

from meridian.core.message import CONTROL, DATA, Message
from meridian.core.policies import PutResult, block, coalesce, drop, latest
from meridian.engine.ready import Turn
from meridian.engine.ring import Budget, LimitedRing, Ring, coalesced, short_of_bytes

pytestmark = pytest.mark.req("V3", "V4")


class Told:
    """An engine that writes down what it is told."""

    def __init__(self, now: int = 100, running: bool = True) -> None:
        self.now, self.running = now, running
        self.waited: set[Ring] = set()
        self.said: list[tuple[Any, ...]] = []

    def clock(self) -> int:
        return 250

    def arm(self) -> None:
        self.said.append(("arm",))

    def wake(self, ring: Ring, own: bool) -> None:
        self.said.append(("wake", ring, own))

    def wake_control(self, ring: Ring, own: bool) -> None:
        self.said.append(("wake_control", ring, own))

    def knock(self, ring: Ring) -> None:
        self.said.append(("knock", ring))


def attached(ring: Any, **engine: Any) -> Any:
    ring.engine, ring.owner = Told(**engine), get_ident()
    return ring


def waiting(ring: Ring) -> Turn:
    turn = Turn(1, 2)
    turn.line = deque()
    ring.wait(turn)
    return turn


def served(ring: Ring) -> Turn:
    """Give the ring its consumer's turn."""
    ring.turn = turn = Turn(0, 2)
    turn.line = deque()
    return turn


def limited(capacity: int = 4, policy: Any = None, **limits: Any) -> LimitedRing:
    settings: dict[str, Any] = {"size": len, "clock": lambda: 0}
    return LimitedRing("a->b", capacity, policy or block(), **(settings | limits))


def at_rest(ring: Ring) -> bool:
    return ring.busy is False and ring.foreign == 0


# ---- a new ring -----------------------------------------------------------------------------------------------


def test_a_new_ring_has_done_nothing_and_belongs_to_nobody():
    ring = Ring("a->b", 3, block())
    assert (ring.id, ring.capacity, ring.space, ring.room(), len(ring)) == ("a->b", 3, 3, 3, 0)
    assert (ring.port, ring.node, ring.owner, ring.inside, ring.foreign) == ("", -1, 0, 0, 0)
    assert (ring.taken, ring.merged, ring.waits, ring.blocked_ns) == (0, 0, 0, 0)
    assert ring.mixed is False
    assert (ring.turn, ring.control_turn, ring.waiters) == (None, None, None)


def test_an_attached_ring_belongs_to_its_engine_and_a_detached_one_to_nobody_and_counts_anew():
    ring, engine = Ring("a->b", 3, latest()), cast(Any, Told())
    ring.busy = True
    ring.attach(engine, 7, "in", 42)
    assert (ring.engine, ring.node, ring.port, ring.owner, ring.busy) == (engine, 7, "in", 42, False)
    for item in range(5):
        ring.put(item)
    ring.get()
    ring.detach()
    assert (ring.engine, ring.turn, ring.control_turn, ring.waiters, ring.owner) == (
        None,
        None,
        None,
        None,
        0,
    )
    assert (list(ring.items), ring.taken, ring.lost) == ([3, 4], 0, None)


def test_a_limited_ring_is_a_ring_of_that_name_and_check():
    check = object()
    ring = LimitedRing("a->b", 3, block(), check, size=len, clock=lambda: 0)
    assert (ring.id, ring.check, ring.budget_share) == ("a->b", check, 0)


def test_a_ring_that_holds_more_than_it_may_has_no_room_rather_than_less():
    ring = attached(Ring("a->b", 3, block()))
    ring.offer([1, 2, 3])
    ring.set_capacity(1)
    assert (ring.room(), ring.space) == (0, 1)
    ring.set_capacity(5)
    assert (ring.room(), ring.space) == (2, 5)


def test_a_new_capacity_moves_the_mark_at_which_those_who_wait_are_let_on():
    ring = attached(Ring("a->b", 2, block()))
    ring.set_capacity(8)
    assert ring.low == 4


# ---- losses are told -------------------------------------------------------------------------------------------


def test_a_loss_is_told_with_edge_cause_number_and_error():
    told: list[tuple[Any, ...]] = []
    ring = Ring("a->b", 1, drop())
    ring.on_loss = lambda *loss: told.append(loss)
    error = ValueError()
    ring.put(1)
    ring.offer([2, 3])
    ring.lose("invalid", 1, error)
    assert told == [("a->b", "dropped", 2, None), ("a->b", "invalid", 1, error)]


def test_that_latest_replaces_is_counted_and_not_told():
    told: list[tuple[Any, ...]] = []
    ring = Ring("a->b", 1, latest())
    ring.on_loss = lambda *loss: told.append(loss)
    ring.put(1)
    ring.put(2)
    assert (ring.lost, told) == ({"replaced": 1}, [])


def test_a_failing_merge_is_told_with_its_error():
    told: list[tuple[Any, ...]] = []

    def fails(old: Any, new: Any) -> Any:
        raise ZeroDivisionError

    ring = Ring("a->b", 1, coalesce(fails))
    ring.on_loss = lambda *loss: told.append(loss)
    ring.put(1)
    assert ring.put(2) is PutResult.COALESCED
    (loss,) = told
    assert loss[:3] == ("a->b", "coalesce_error", 1)
    assert isinstance(loss[3], ZeroDivisionError)


def test_a_merge_that_makes_an_envelope_marks_the_ring_as_mixed():
    ring = Ring("a->b", 1, coalesce(lambda old, new: Message(DATA, new)))
    ring.put(1)
    ring.put(2)
    assert ring.mixed is True


# ---- policies --------------------------------------------------------------------------------------------------


class Answers:
    """A policy of one's own, which remembers what it was shown."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.shown: list[tuple[int, int, Any]] = []

    def on_enqueue(self, capacity: int, size: int, item: Any) -> Any:
        self.shown.append((capacity, size, item))
        return self.answer


def test_a_policy_of_ones_own_is_shown_capacity_depth_and_item():
    policy = Answers(PutResult.OK)
    ring = Ring("a->b", 2, policy)
    ring.put("first")
    ring.put("second")
    assert policy.shown == [(2, 0, "first"), (2, 1, "second")]


def test_an_answer_that_cannot_be_carried_out_names_the_policy_the_edge_and_the_depth():
    ring = Ring("a->b", 2, Answers(PutResult.COALESCED))
    with pytest.raises(ValueError, match=r"^policy Answers answered <.*> for edge a->b at size 0 of 2: "):
        ring.put(1)


def test_a_policy_that_fails_in_the_middle_of_a_batch_leaves_no_section_open():
    class Fails:
        def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
            raise ZeroDivisionError

    ring = Ring("a->b", 2, Fails())
    with pytest.raises(ZeroDivisionError):
        ring.offer([1])
    assert at_rest(ring)


@pytest.mark.parametrize("made", [block, drop, latest], ids=lambda made: made.__name__)
def test_a_new_policy_is_that_policy_in_every_respect(made):
    ring, like = Ring("a->b", 5, Answers(PutResult.OK)), Ring("a->b", 5, made())
    ring.set_policy(policy := made())
    assert ring.policy is policy
    assert (ring.kind, ring.low) == (like.kind, like.low)


def test_a_policy_of_ones_own_lets_producers_try_after_every_item_that_leaves():
    ring = Ring("a->b", 5, block())
    assert ring.low == 2
    ring.set_policy(Answers(PutResult.OK))
    assert (ring.low, ring.kind) == (5, Ring("a->b", 5, Answers(PutResult.OK)).kind)


@pytest.mark.parametrize("on", ["payload", "message"])
def test_a_merge_gets_payloads_or_messages_as_it_asks(on):
    got: list[tuple[Any, Any]] = []

    def merge(old: Any, new: Any) -> Any:
        got.append((old, new))
        return new

    old, new = Message(DATA, "old"), Message(DATA, "new")
    merged = coalesced(coalesce(merge, on=on), old, new)
    assert got == [("old", "new") if on == "payload" else (old, new)]
    assert isinstance(merged, Message)


def test_what_is_merged_travels_in_the_newer_envelope_unless_only_the_older_is_one():
    old, new = Message(DATA, 1, headers={"from": "old"}), Message(DATA, 2, headers={"from": "new"})
    policy = coalesce(lambda a, b: a + b)
    both, older = coalesced(policy, old, new), coalesced(policy, old, 2)
    assert (both.payload, both.headers["from"]) == (3, "new")
    assert (older.payload, older.headers["from"]) == (3, "old")


# ---- waking the consumer ---------------------------------------------------------------------------------------


def test_only_an_item_that_comes_to_an_empty_ring_wakes_its_consumer():
    ring = attached(Ring("a->b", 3, block()))
    ring.put(1)
    ring.put(2)
    assert ring.engine.said == [("wake", ring, True)]


def test_a_batch_that_comes_to_a_ring_without_a_turn_asks_the_engine_for_one():
    ring = attached(Ring("a->b", 3, block()))
    ring.offer([1])
    ring.offer([2])
    assert ring.engine.said == [("wake", ring, True)]


def test_one_item_that_comes_to_a_ring_without_a_turn_asks_the_engine_for_one():
    ring = attached(Ring("a->b", 3, block()))
    assert ring.offer_one(1)
    assert ring.offer_one(2)
    assert ring.engine.said == [("wake", ring, True)]


@pytest.mark.parametrize("one", [True, False])
def test_what_comes_to_an_empty_ring_queues_its_turn_once(one):
    ring = attached(Ring("a->b", 3, block()))
    turn = served(ring)
    put = ring.offer_one if one else lambda item: ring.offer([item])
    put(1)
    assert (list(turn.line), turn.queued) == ([turn], True)
    put(2)
    ring.take(2)
    put(3)
    assert (list(turn.line), ring.engine.said) == ([turn], [])


def test_one_item_is_refused_by_a_full_ring_and_no_section_stays_open():
    ring = attached(Ring("a->b", 1, block()))
    assert (ring.offer_one(1), at_rest(ring)) == (True, True)
    assert (ring.offer_one(2), at_rest(ring)) == (False, True)
    assert list(ring.items) == [1]


# ---- many at once ----------------------------------------------------------------------------------------------


def test_many_are_put_until_one_is_refused_and_only_the_first_to_come_wakes_the_consumer():
    ring = attached(Ring("a->b", 3, block()))
    assert [ring.put_many([1, 2]), ring.put_many([3, 4]), ring.put_many([5])] == [2, 1, 0]
    assert (list(ring.items), ring.engine.said) == ([1, 2, 3], [("wake", ring, True)])
    assert at_rest(ring)


def test_no_items_wake_nobody():
    ring = attached(Ring("a->b", 3, block()))
    assert (ring.put_many([]), ring.engine.said) == (0, [])


def test_many_are_put_by_the_policy_that_is_given_or_by_the_rings_own():
    ring = Ring("a->b", 1, latest())
    assert [ring.put_many([1, 2]), ring.put_many([3, 4], block()), ring.put_many([5], drop())] == [2, 0, 1]
    assert (list(ring.items), ring.lost) == ([2], {"replaced": 1, "dropped": 1})


def test_control_among_many_wakes_the_control_turn_besides():
    ring = attached(Ring("a->b", 3, block()))
    assert ring.put_many([1, Message(CONTROL, "now")]) == 2
    assert ring.engine.said == [("wake", ring, True), ("wake_control", ring, True)]


def test_control_alone_wakes_only_the_control_turn():
    ring = attached(Ring("a->b", 3, block()))
    assert ring.put_many([Message(CONTROL, "now")]) == 1
    assert ring.engine.said == [("wake_control", ring, True)]


def test_many_are_taken_control_first_and_no_more_than_asked_for():
    ring = attached(Ring("a->b", 5, block()))
    now, then = Message(CONTROL, "now"), Message(CONTROL, "then")
    ring.put_many([1, now, 2, then, 3])
    assert (ring.take_many(1), ring.space, ring.taken) == ([now], 4, 1)
    assert (ring.take_many(0), ring.take_many(3)) == ([], [then, 1, 2])
    assert (ring.take_many(9), ring.space, ring.taken) == ([3], 5, 5)
    assert at_rest(ring)


def test_two_control_messages_taken_at_once_make_room_for_two():
    ring = attached(Ring("a->b", 5, block()))
    ring.put_many([Message(CONTROL, "now"), Message(CONTROL, "then")])
    assert (len(ring.take_many(2)), ring.space, ring.taken) == (2, 5, 2)


def test_many_that_leave_let_those_on_who_wait_and_none_that_leave_do_not():
    ring = attached(Ring("a->b", 2, block()))
    ring.put_many([1, 2])
    turn = waiting(ring)
    assert (ring.take_many(0), ring.waiters) == ([], [turn])
    assert (ring.take_many(1), list(turn.line), ring.waiters) == ([1], [turn], None)


def test_many_that_leave_where_nobody_waits_let_nobody_on():
    ring = attached(Ring("a->b", 2, block()), running=False)
    ring.put_many([1, 2])
    ring.engine.said.clear()
    assert (ring.take_many(2), ring.engine.said) == ([1, 2], [])


def test_what_expired_is_not_among_the_many_that_are_taken():
    now = [0]
    ring = attached(limited(max_age_ns=10, clock=lambda: now[0]))
    ring.put_many(["a", "b"])
    now[0] = 11
    assert (ring.take_many(2), ring.lost) == ([], {"expired": 2})
    assert at_rest(ring)


# ---- waiting for room ------------------------------------------------------------------------------------------


def test_a_turn_that_waits_counts_as_queued_and_its_wait_is_counted():
    ring = attached(Ring("a->b", 1, block()))
    first, second = waiting(ring), waiting(ring)
    assert ring.waits == 2
    assert [(turn.queued, turn.waits_for, turn.since) for turn in (first, second)] == [(True, ring, 100)] * 2
    assert ring.engine.waited == {ring}


@pytest.mark.parametrize(("running", "now"), [(True, 130), (False, 250)])
def test_a_wait_ends_at_the_engines_time_and_where_it_rests_at_the_clocks(running, now):
    ring = attached(Ring("a->b", 1, block()))
    first, second = waiting(ring), waiting(ring)
    ring.engine.now, ring.engine.running = 130, running
    ring.release(True)
    assert ring.blocked_ns == 2 * (now - 100)
    assert [list(turn.line) for turn in (first, second)] == [[first], [second]]
    assert ring.engine.said == ([] if running else [("arm",)])


def test_another_thread_lets_nobody_on_but_knocks():
    ring = attached(Ring("a->b", 1, block()))
    turn = waiting(ring)
    ring.release(False)
    assert (ring.engine.said, ring.waiters) == ([("knock", ring)], [turn])


def test_only_the_turn_that_is_forgotten_waits_no_more():
    ring = attached(Ring("a->b", 1, block()))
    first, second, stranger = waiting(ring), waiting(ring), Turn(9, 2)
    ring.forget(stranger)
    assert ring.waiters == [first, second]
    ring.forget(first)
    assert ring.waiters == [second]
    ring.release(True)
    ring.forget(second)  # nobody waits any more
    assert ring.waiters is None


def test_waits_that_are_over_and_waits_that_are_open_add_up_to_the_seconds():
    ring = attached(Ring("a->b", 1, block()))
    ring.blocked_ns = 2_000_000_000
    waiting(ring)
    assert ring.blocked_s(500_000_100) == 2.5


def test_half_a_batch_that_comes_back_lets_producers_on_at_the_low_mark():
    ring = attached(Ring("a->b", 4, block()))
    ring.offer([1, 2, 3, 4])
    ring.take(4, True)
    turn = waiting(ring)
    ring.settle(4, [3, 4])
    assert (list(turn.line), ring.waiters) == ([turn], None)


def test_what_was_taken_for_good_may_come_back_in_front_whatever_came_meanwhile():
    ring = attached(Ring("a->b", 3, block()))
    ring.offer([1, 2, 3])
    ring.take(3)
    ring.offer([4, 5])
    ring.settle(0, [2, 3])
    assert (list(ring.items), ring.space, ring.taken, ring.accepted()) == ([2, 3, 4, 5], 3, 1, 5)
    assert (ring.room(), ring.put(6)) == (0, PutResult.BLOCKED)


def test_above_the_low_mark_the_end_of_a_batch_lets_nobody_on():
    ring = attached(Ring("a->b", 4, block()))
    ring.offer([1, 2, 3, 4])
    ring.take(4, True)
    waiting(ring)
    ring.settle(4, [2, 3, 4])
    assert len(ring.waiters) == 1


@pytest.mark.parametrize("limits", [None, {"max_bytes": 100}], ids=["ring", "limited"])
@pytest.mark.parametrize("act", ["take", "settle", "take_control", "set_capacity"])
def test_where_nobody_waits_nobody_is_let_on(limits, act):
    ring = attached(Ring("a->b", 4, block()) if limits is None else limited(**limits), running=False)
    ring.offer(["a"])
    ring.engine.said.clear()
    {
        "take": lambda: ring.take(1),
        "settle": lambda: ring.settle(1, ring.take(1, True)),
        "take_control": lambda: ring.take_control(1),
        "set_capacity": lambda: ring.set_capacity(9),
    }[act]()
    assert ring.engine.said == []
    assert at_rest(ring)


@pytest.mark.parametrize("limits", [None, {"max_bytes": 100}], ids=["ring", "limited"])
@pytest.mark.parametrize("act", ["get", "take", "take_control", "set_capacity"])
def test_whatever_makes_room_lets_those_on_who_wait(limits, act):
    ring = attached(Ring("a->b", 2, block()) if limits is None else limited(2, **limits))
    ring.put(Message(CONTROL, "now"))
    ring.put("a")
    turn = waiting(ring)
    {
        "get": ring.get,
        "take": lambda: ring.take(1),
        "take_control": lambda: ring.take_control(3),
        "set_capacity": lambda: ring.set_capacity(9),
    }[act]()
    assert (list(turn.line), ring.waiters) == ([turn], None)
    assert at_rest(ring)


def test_taking_control_where_there_is_none_lets_nobody_on():
    ring = attached(Ring("a->b", 1, block()))
    ring.put("a")
    turn = waiting(ring)
    assert ring.take_control(1) == []
    assert ring.waiters == [turn]


def test_a_capacity_that_makes_no_room_lets_nobody_on():
    ring = attached(Ring("a->b", 4, block()))
    ring.offer([1, 2, 3, 4])
    turn = waiting(ring)
    ring.set_capacity(2)
    assert ring.waiters == [turn]


# ---- control ---------------------------------------------------------------------------------------------------


def test_control_counts_toward_the_capacity_and_room_that_is_kept_for_a_batch_is_not_its():
    ring = attached(Ring("a->b", 2, block()))
    ring.offer([1, 2])
    assert ring.put(Message(CONTROL, "now")) is PutResult.BLOCKED
    ring.take(2, True)  # one of the two may come back
    assert ring.put(Message(CONTROL, "now")) is PutResult.OK
    assert ring.put(Message(CONTROL, "again")) is PutResult.BLOCKED


def test_control_wakes_the_control_turn():
    ring = attached(Ring("a->b", 2, block()))
    ring.put(Message(CONTROL, "now"))
    assert ring.engine.said == [("wake_control", ring, True)]


# ---- limits ----------------------------------------------------------------------------------------------------


def test_there_is_no_room_when_the_last_byte_is_used():
    ring = limited(max_bytes=4)
    ring.put("abc")
    assert ring.room() == 3
    ring.put("d")
    assert (ring.room(), ring.depth()) == (0, 2)


@pytest.mark.parametrize(("share", "room"), [(0, 3), (4, 3), (3, 0)])
def test_there_is_no_room_when_the_share_of_the_budget_is_used(share, room):
    ring = limited(budget=Budget(8))
    ring.budget_share = share
    ring.budget.charge(2)
    ring.put("a")
    assert ring.room() == room


def test_there_is_no_room_when_the_whole_budget_is_used():
    ring = limited(budget=Budget(4))
    ring.put("abcd")
    assert ring.room() == 0


def test_what_expired_makes_room_when_somebody_asks():
    now = [0]
    ring = attached(limited(2, max_age_ns=10, clock=lambda: now[0]))
    ring.put("a")
    ring.put("b")
    now[0] = 11
    assert (ring.room(), ring.depth(), ring.lost, ring.bytes) == (2, 0, {"expired": 2}, 0)
    assert at_rest(ring)


def test_without_an_age_limit_nothing_expires():
    now = [0]
    ring = attached(limited(2, clock=lambda: now[0]))
    ring.put("a")
    now[0] = 9
    assert (ring.fits("b"), ring.put("b"), ring.fits("c")) == (True, PutResult.OK, False)
    now[0] = 99
    assert (ring.get(), ring.get(), ring.lost) == ("a", "b", None)


def test_an_age_of_nothing_keeps_what_came_at_this_very_moment():
    now = [0]
    ring = limited(max_age_ns=0, clock=lambda: now[0])
    ring.put("a")
    assert (ring.room(), ring.depth()) == (3, 1)
    now[0] = 1
    assert (ring.room(), ring.depth()) == (4, 0)


def test_what_would_be_lost_anyway_fits_and_what_is_too_much_now_does_not():
    ring = attached(limited(2, max_bytes=4))
    ring.put("abc")
    assert [ring.fits("d"), ring.fits("de"), ring.fits("far too long")] == [True, False, True]
    assert at_rest(ring)
    ring.put("d")
    assert ring.fits("") is False


def test_without_limits_everything_fits_some_time():
    assert Ring("a->b", 1, block()).weigh("far too long") == 0


@pytest.mark.parametrize(
    ("item", "weight"),
    [
        ("abc", 3),
        (Message(DATA, "ab"), 2),
        ("far too long", None),
        (5, None),
        (Message(CONTROL, "far too long"), 0),
    ],
)
def test_a_ring_weighs_data_and_nothing_that_never_fits(item, weight):
    assert limited(max_bytes=4, size=len).weigh(item) == weight


def test_an_answer_that_is_no_size_is_told_with_the_edge_and_the_type():
    ring = limited(size=lambda payload: "ten")
    with pytest.raises(
        ValueError, match=r"^size of edge a->b answered <str>: it has to tell a number of bytes$"
    ):
        ring._size_of("a")


def test_payloads_that_share_a_budget_are_merged():
    ring = limited(1, coalesce(lambda old, new: old + new), budget=Budget(9))
    ring.put("a")
    assert ring.put("b") is PutResult.COALESCED
    assert (list(ring.items), ring.budget.used, ring.merged) == (["ab"], 2, 1)


def test_a_ring_takes_no_more_than_its_share_while_others_use_the_budget():
    ring = limited(budget=Budget(8))
    ring.budget_share = 4
    assert [ring.put("abc"), ring.put("de"), ring.put("f")] == [PutResult.OK, PutResult.BLOCKED, PutResult.OK]


def test_room_is_kept_for_what_may_come_back():
    ring = limited(4)
    ring.offer(["a", "b", "c", "d"])
    assert ring.take(4, True) == ["a", "b", "c", "d"]
    assert (ring.space, ring.room()) == (1, 1)
    ring.settle(4, ["d"])
    assert (ring.space, ring.room()) == (4, 3)


def test_what_was_taken_for_good_and_comes_back_counts_its_bytes_again():
    ring = attached(limited(4, budget=Budget(100)))
    ring.offer(["a", "bc", "def"])
    assert (ring.take(3), ring.bytes, ring.budget.used) == (["a", "bc", "def"], 0, 0)
    ring.settle(0, ["bc", "def"])
    assert (ring.bytes, ring.budget.used, ring.get(), ring.bytes) == (5, 5, "bc", 3)


def test_what_is_taken_for_good_leaves_its_room():
    ring = attached(limited(4))
    ring.offer(["a", "b"])
    assert (ring.take(2), ring.space, ring.room()) == (["a", "b"], 4, 4)


def test_what_a_ring_takes_over_counts_and_what_has_no_size_counts_for_nothing():
    other, ring = attached(Ring("a->b", 4, block())), limited(size=len, budget=Budget(99))
    other.offer(["abc", 5])
    ring.take_over(other)
    assert (list(ring.items), ring.bytes, ring.budget.used) == (["abc", 5], 3, 3)
    assert [ring.get(), ring.get(), ring.bytes] == ["abc", 5, 0]


def test_a_ring_takes_over_the_very_items_of_another():
    other, ring = attached(Ring("a->b", 4, block())), Ring("a->b", 1, block())
    other.offer(["abc", 5])
    ring.take_over(other)
    assert (list(ring.items), ring.accepted()) == (["abc", 5], 2)


def test_a_ring_that_changes_its_budget_gives_the_old_one_its_bytes_back():
    before, after = Budget(99), Budget(99)
    ring = attached(limited(budget=before))
    ring.put("abc")
    ring.use(after, lambda: 0)
    assert (ring.budget, before.used, after.used) == (after, 0, 3)
    assert at_rest(ring)
    ring.use(None, lambda: 0)
    assert (ring.budget, after.used) == (None, 0)


def test_the_age_of_the_head_is_nothing_where_there_is_none():
    now = [3]
    ring = limited(clock=lambda: now[0])
    assert ring.head_age_ns() == 0
    ring.put("a")
    now[0] = 8
    assert ring.head_age_ns() == 5


# ---- budgets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "n", "share", "admitted"),
    [
        (0, 8, 0, True),
        (0, 9, 0, False),
        (3, 5, 0, True),
        (3, 1, 4, True),
        (3, 2, 4, False),
        (0, 8, 4, True),  # while nothing is queued, even what is larger than the share
    ],
)
def test_a_budget_admits_up_to_the_share_or_anything_while_nothing_is_queued(used, n, share, admitted):
    budget = Budget(8)
    budget.charge(used)
    assert budget.admits(n, share) is admitted


def test_a_budget_knows_the_rings_that_it_counts_and_each_its_share():
    budget, ring = Budget(8), limited()
    budget.add(ring, 4)
    assert (budget.rings, ring.budget_share) == ([ring], 4)


@pytest.mark.parametrize(("n", "let_on"), [(1, False), (0, False), (-1, True)])
def test_only_bytes_that_are_given_back_let_those_on_who_wait_anywhere(n, let_on):
    budget = Budget(8)
    ring = attached(limited(budget=budget))
    budget.rings.append(ring)
    turn = waiting(ring)
    budget.charge(n)
    assert (list(turn.line) == [turn], budget.used) == (let_on, n)


def test_bytes_that_are_given_back_pass_by_rings_that_nobody_waits_on_and_no_engine_runs():
    budget = Budget(8)
    idle, alone = attached(limited(budget=budget), running=False), limited(budget=budget)
    alone.waiters = [Turn(0, 2)]
    budget.rings += [idle, alone]
    budget.charge(-1)
    assert idle.engine.said == []
    assert len(alone.waiters) == 1


def test_bytes_that_another_thread_gives_back_only_knock():
    budget = Budget(8)
    ring = attached(limited(budget=budget))
    budget.rings.append(ring)
    turn = waiting(ring)
    ring.owner = get_ident() + 1
    budget.charge(-1)
    assert (ring.engine.said, ring.waiters) == ([("knock", ring)], [turn])


@pytest.mark.parametrize(
    ("used", "share", "short"),
    [
        (0, 0, False),
        (1, 0, True),  # all of the budget, and one byte of it is in use
        (4, 8, True),
        (
            0,
            7,
            False,
        ),  # larger than the share: it may never find room on both, so it goes to one after the other
        (0, 6, False),
    ],
)
def test_an_item_for_two_rings_needs_the_bytes_for_both(used, share, short):
    budget = Budget(8)
    one, other = limited(budget=budget), limited(budget=budget)
    one.budget_share = share
    budget.charge(used)
    assert short_of_bytes([one, other], "abcd") is (one if short else None)


def test_an_item_for_two_rings_needs_no_more_than_the_share_of_each():
    budget = Budget(8)
    one, other = limited(budget=budget), limited(budget=budget)
    one.budget_share = other.budget_share = 4
    budget.charge(1)
    assert short_of_bytes([one, other], "ab") is one


def test_only_rings_of_one_budget_need_its_bytes_together():
    one, other = limited(budget=Budget(8)), limited(budget=Budget(8))
    one.budget.charge(5)
    assert short_of_bytes([one, other, Ring("a->c", 4, block()), limited()], "ab") is None


# ---- sections --------------------------------------------------------------------------------------------------


class Door:
    """A lock that tells what the ring's flag was when somebody waited at it."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.busy: list[Any] = []

    def __enter__(self) -> None:
        self.busy.append(self.ring.busy)
        self.ring.foreign = 0

    def __exit__(self, *raised: object) -> None:
        pass


@pytest.mark.parametrize("act", ["offer", "offer_one", "take", "settle", "put", "get"])
def test_the_engines_thread_steps_back_for_another_one_and_goes_on_when_that_has_left(act):
    ring = attached(Ring("a->b", 4, block()))
    ring.items.append("a")
    ring._lock = door = Door(ring)
    ring.foreign = 1
    {
        "offer": lambda: ring.offer(["b"]),
        "offer_one": lambda: ring.offer_one("b"),
        "take": lambda: ring.take(1),
        "settle": lambda: ring.settle(0, []),
        "put": lambda: ring.put("b"),
        "get": ring.get,
    }[act]()
    assert door.busy == [False]
    assert at_rest(ring)


def test_another_thread_waits_for_the_end_of_the_engines_section_and_only_gives_way_meanwhile(monkeypatch):
    ring = attached(Ring("a->b", 4, block()))
    ring.owner += 1
    ring.busy = True
    slept: list[Any] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        ring.busy = False

    monkeypatch.setattr("meridian.engine.ring.time.sleep", sleep)
    assert ring.put("a") is PutResult.OK
    assert (slept, at_rest(ring)) == ([0], True)


def test_after_stepping_back_the_section_is_open():
    ring = attached(Ring("a->b", 4, block()))
    ring.let_foreign_finish()
    assert ring.busy is True


@pytest.mark.parametrize("act", ["offer", "offer_one", "take", "settle", "put", "get"])
def test_the_flag_of_a_section_is_up_before_the_other_threads_flag_is_looked_at(act):
    class Watched(Ring):
        __slots__ = ("seen",)

        @property
        def foreign(self) -> int:
            self.seen.append(self.busy)
            return 0

        @foreign.setter
        def foreign(self, n: int) -> None:
            self.seen = []

    ring = attached(Watched("a->b", 4, block()))
    ring.items.append("a")
    {
        "offer": lambda: ring.offer(["b"]),
        "offer_one": lambda: ring.offer_one("b"),
        "take": lambda: ring.take(1),
        "settle": lambda: ring.settle(0, []),
        "put": lambda: ring.put("b"),
        "get": ring.get,
    }[act]()
    assert ring.seen == [True]
