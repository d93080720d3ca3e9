"""Where user code runs in a ring of the Rust engine, one thread is inside at a time, whatever runs in between."""

import gc
import signal
import threading
from typing import Any

import pytest

from meridian.core.policies import Coalesce, Drop, PutResult
from meridian.engine.select import native

fast: Any = native()
pytestmark = [
    pytest.mark.req("V3", "V14"),
    pytest.mark.skipif(fast is None, reason="the Rust engine isn't built here: ci/rust says so, too"),
]


class Asked:
    """A policy of the user's that is asked for a while by who puts ``slow``."""

    def __init__(self) -> None:
        self.at_once = self.most = 0
        self.asked, self.answer = threading.Event(), threading.Event()

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        if item == "slow":
            self.asked.set()
            assert self.answer.wait(10)
        self.at_once -= 1
        return PutResult.OK if size < capacity else PutResult.REPLACED


now = [0]
"""The time of `limited` rings, in nanoseconds."""


def limited(policy: Any, **limits: Any) -> Any:
    return fast.LimitedRing("a:o->b:i", 2, policy, size=len, clock=lambda: now[0], **limits)


def test_who_is_told_of_a_loss_may_let_others_in_and_is_not_alone_inside_for_all_that():
    policy = Asked()
    ring = limited(policy, max_age_ns=1)
    told, go_on = threading.Event(), threading.Event()

    def on_loss(*_: Any) -> None:
        ring.on_loss = None
        told.set()
        assert go_on.wait(10)

    now[0] = 0
    ring.put("old")
    now[0] = 10
    ring.on_loss = on_loss
    first = threading.Thread(target=ring.put, args=("new",))  # tells of what expired, then asks the policy
    first.start()
    assert told.wait(10)
    second = threading.Thread(target=ring.put, args=("slow",))
    second.start()
    assert policy.asked.wait(10)
    go_on.set()
    first.join(0.02)  # were it not held up, it would be through by now
    policy.answer.set()
    for thread in (first, second):
        thread.join(10)
    assert (policy.most, ring.inside) == (1, 0)
    assert (list(ring.items), ring.lost) == (["slow", "new"], {"expired": 1})


def test_who_was_told_of_a_loss_and_took_everything_leaves_room_and_nothing_to_merge_with():
    merged = []
    ring = limited(Coalesce(lambda old, new: merged.append((old, new)) or old), max_age_ns=1)
    now[0] = 0
    ring.put("old")
    now[0] = 1
    ring.put("held")
    ring.set_capacity(1)

    def on_loss(*_: Any) -> None:
        ring.on_loss = None
        ring.get()

    ring.on_loss = on_loss
    now[0] = 2  # "old" expires, "held" still makes the ring full
    assert ring.put("new") is PutResult.OK
    assert (list(ring.items), merged, ring.lost) == (["new"], [], {"expired": 1})
    assert ring.accepted() == 3


def test_a_result_that_does_not_fit_and_puts_on_its_own_edge_when_it_is_dropped_is_refused():
    class Greedy(str):
        __slots__ = ()

        def __del__(self) -> None:
            try:
                ring.put("again")
            except RuntimeError as error:
                refused.append(str(error))

    refused: list[str] = []
    ring = limited(Coalesce(lambda old, new: Greedy("far too long")), max_bytes=4)
    ring.put("a")
    ring.put("b")
    assert ring.put("c") is PutResult.COALESCED
    gc.collect()
    assert (list(ring.items), ring.lost) == (["a", "c"], {"coalesce_error": 1})
    assert refused == ["a coalesce function or policy must not put on or take from its own edge, a:o->b:i"]


def test_a_put_that_waits_outside_can_be_interrupted_and_the_ring_goes_on():
    inside, go_on = threading.Event(), threading.Event()

    def merge(old: Any, new: Any) -> Any:
        inside.set()
        assert go_on.wait(10)
        return new

    def interrupted(*_: Any) -> None:
        raise InterruptedError

    ring = fast.Ring("a:o->b:i", 1, Coalesce(merge))
    ring.put(1)
    other = threading.Thread(target=ring.put, args=(2,))
    other.start()
    assert inside.wait(10)
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(InterruptedError):
            ring.put(3)
    finally:
        signal.signal(signal.SIGALRM, before)
    go_on.set()
    other.join(10)
    assert list(ring.items) == [2]


@pytest.mark.parametrize("rest", [["x"], ["x", "y", "z"]])
def test_more_than_was_taken_may_be_brought_back_without_a_panic(rest: list[str]):
    ring = limited(Drop(), max_bytes=9, max_age_ns=9)
    now[0] = 0
    ring.settle(1, rest)
    assert ring.take(5) == rest
    assert (ring.depth(), ring.bytes) == (0, 0)
    now[0] = 100
    ring.put("new")
    assert list(ring.items) == ["new"]


def test_numbers_beyond_all_reason_are_limits_like_others():
    ring = fast.LimitedRing(
        "a:o->b:i",
        (1 << 63) - 1,
        Drop(),
        max_bytes=(1 << 63) - 2,
        max_age_ns=(1 << 63) - 1,
        size=lambda _: 1 << 62,
        clock=lambda: -(1 << 63),
    )
    assert [ring.put(n) for n in range(3)] == [PutResult.OK, PutResult.DROPPED, PutResult.DROPPED]
    ring.set_capacity(-(1 << 63))
    ring.set_capacity((1 << 63) - 1)
    assert ring.take(1 << 60) == [0]
    queue = fast.ReadyQueue((1 << 62, 1 << 62, 1))
    for line in queue.lines:
        turn = fast.Turn(1, 0)
        line.append(turn)
    assert [queue.pick().node for _ in range(3)] == [1, 1, 1]


def test_a_source_that_is_no_iterator_is_refused():
    from meridian.core.message import Scope
    from meridian.engine.select import engine_type

    engine = engine_type("rust")(Scope(), clock=lambda: 0)
    node = engine.add_node(0, "n", "source", None, {})
    with pytest.raises(TypeError):
        engine.start_source(node, [1, 2, 3])  # type: ignore[arg-type]  # that is the point


def test_what_is_installed_has_no_seeded_faults():
    assert not hasattr(fast, "set_fault")
    assert "faults" not in fast.build_info()
