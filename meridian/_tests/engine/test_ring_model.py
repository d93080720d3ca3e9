"""The ring against a list model that was written from the rules, not from the ring."""

from __future__ import annotations

import os
import threading
from itertools import product
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from meridian.core.message import CONTROL, DATA, ERROR, Message, Scope
from meridian.core.policies import Block, Coalesce, Drop, Latest, PutResult
from meridian.engine.kernel import PythonEngine
from meridian.engine.ring import Ring
from meridian.engine.select import engine_type


class Half:
    """Blocks from half full on; answers by size alone, as a user's policy would."""

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        return PutResult.OK if size < (capacity + 1) // 2 else PutResult.BLOCKED


class Says:
    """Always gives the same answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def on_enqueue(self, capacity: int, size: int, item: Any) -> Any:
        return self.answer


class Refused(Exception):
    """The model's word for an answer that can't be carried out."""


def raw(item: Any) -> Any:
    return item.payload if isinstance(item, Message) else item


def size(payload: Any) -> int:
    """A payload is a tuple of numbers (merging concatenates); its size is the last digits' sum."""
    return sum(n % 4 for n in payload)


def join(old: Any, new: Any) -> Any:
    return old + new


def breaks_on_three(old: Any, new: Any) -> Any:
    if new[-1] % 3 == 0:
        raise ZeroDivisionError
    return old + new


POLICIES: dict[str, Any] = {
    "block": Block(),
    "drop": Drop(),
    "latest": Latest(),
    "join": Coalesce(join),
    "breaks": Coalesce(breaks_on_three),
    "half": Half(),
    "ok": Says(PutResult.OK),
    "replaced": Says(PutResult.REPLACED),
    "blocked": Says(PutResult.BLOCKED),
    "dropped": Says(PutResult.DROPPED),
    "coalesced": Says(PutResult.COALESCED),
    "nonsense": Says("yes"),
}


class Model:
    """What the rules say, with lists."""

    def __init__(self, capacity: int, max_bytes: int | None, max_age: int | None, limit: int | None) -> None:
        self.capacity, self.max_bytes, self.max_age, self.limit = capacity, max_bytes, max_age, limit
        self.data: list[tuple[Any, int, int]] = []  # (payload, bytes, since)
        self.control: list[Any] = []
        self.reserved: list[tuple[Any, int, int]] = []  # may still come back
        self.others = 0  # bytes of the graph's other edges
        self.now = self.taken = self.merged = 0
        self.lost: dict[str, int] = {}

    def lose(self, cause: str, n: int = 1) -> None:
        if n:
            self.lost[cause] = self.lost.get(cause, 0) + n

    def expire(self) -> None:
        if self.max_age is not None:
            fresh = [each for each in self.data if self.now - each[2] <= self.max_age]
            self.lose("expired", len(self.data) - len(fresh))
            self.data = fresh

    def bytes(self) -> int:
        return sum(n for _, n, _ in self.data + self.reserved)

    def fits_bytes(self, n: int) -> bool:
        own = self.bytes() + n
        return (self.max_bytes is None or own <= self.max_bytes) and (
            self.limit is None or own + self.others <= self.limit
        )

    def depth(self) -> int:
        return len(self.data) + len(self.control)

    def counts(self) -> int:
        return self.depth() + len(self.reserved)

    def put_control(self, payload: Any) -> PutResult:
        self.expire()
        if self.counts() >= self.capacity:
            return PutResult.BLOCKED
        self.control.append(payload)
        return PutResult.OK

    def put(self, payload: Any, name: str) -> PutResult:
        self.expire()
        n = size(payload)
        if (self.max_bytes is not None and n > self.max_bytes) or (self.limit is not None and n > self.limit):
            self.lose("invalid")
            return PutResult.DROPPED
        full = self.counts() >= self.capacity or not self.fits_bytes(n)
        if name == "half" and not full and self.depth() >= (self.capacity + 1) // 2:
            return PutResult.BLOCKED
        if name in ("blocked", "dropped", "replaced", "coalesced", "nonsense") or (name == "ok" and full):
            return self.forced(payload, name)
        if not full:
            self.data.append((payload, n, self.now))
            return PutResult.OK
        if name in ("block", "half"):
            return PutResult.BLOCKED
        if name == "latest":
            return self.forced(payload, "replaced")
        if name == "drop":
            return self.forced(payload, "dropped")
        return self.merge(payload, name)

    def forced(self, payload: Any, answer: str) -> PutResult:
        n = size(payload)
        if answer == "blocked":
            return PutResult.BLOCKED
        if answer == "dropped":
            self.lose("dropped")
            return PutResult.DROPPED
        if answer != "replaced":
            raise Refused
        while self.data and (self.counts() >= self.capacity or not self.fits_bytes(n)):
            del self.data[0]
            self.lose("replaced")
        if self.counts() >= self.capacity or not self.fits_bytes(n):
            self.lose("dropped")
            return PutResult.DROPPED
        self.data.append((payload, n, self.now))
        return PutResult.REPLACED

    def merge(self, payload: Any, name: str) -> PutResult:
        if not self.data:
            self.lose("dropped")
            return PutResult.DROPPED
        old, n, since = self.data[-1]
        candidates = [(payload, "coalesce_error")]
        if not (name == "breaks" and payload[-1] % 3 == 0):
            candidates.insert(0, (old + payload, ""))
        for value, cause in candidates:
            if self.fits_bytes(size(value) - n):
                self.data[-1] = (value, size(value), since)
                if cause:
                    self.lose(cause)
                else:
                    self.merged += 1
                return PutResult.COALESCED
        self.lose("dropped")
        return PutResult.DROPPED

    def take(self, k: int) -> list[Any]:
        self.expire()
        taken, self.data = self.data[:k], self.data[k:]
        self.taken += len(taken)
        return taken

    def get(self) -> Any:
        if self.control:
            self.taken += 1
            return self.control.pop(0)
        self.expire()
        if not self.data:
            return None
        return self.take(1)[0][0]


class RingMachine(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(0, 4),
        max_bytes=st.none() | st.integers(0, 9),
        max_age=st.none() | st.integers(0, 3),
        limit=st.none() | st.integers(0, 9),
        policy=st.sampled_from(sorted(POLICIES)),
        mixed=st.booleans(),
    )
    def make(self, capacity, max_bytes, max_age, limit, policy, mixed) -> None:
        self.model = Model(capacity, max_bytes, max_age, limit)
        self.policy, self.mixed = policy, mixed
        self.serial = 0
        kinds = engine_type()
        self.budget = None if limit is None else kinds.budget_type(limit)
        if max_bytes is None and max_age is None and limit is None:
            self.ring = kinds.ring_type("a:o->b:i", capacity, POLICIES[policy])
        else:
            self.ring = kinds.limited_ring_type(
                "a:o->b:i",
                capacity,
                POLICIES[policy],
                max_bytes=max_bytes,
                max_age_ns=max_age,
                budget=self.budget,
                size=size,
                clock=lambda: self.model.now,
            )
        self.batch: list[tuple[Any, int, int]] | None = None
        self.put_back = False
        self.accepted = 0

    def next(self) -> Any:
        self.serial += 1
        return (self.serial,)

    def wrapped(self, payload: Any) -> Any:
        if self.mixed and payload[0] % 2:
            return Message(ERROR if payload[0] % 3 == 1 else DATA, payload)
        return payload

    def expect(self, model: Any, ring: Any) -> Any:
        """Both do it, and answer the same."""
        try:
            wanted = model()
        except Refused:
            with pytest.raises(ValueError, match="answered"):
                ring()
            return None
        got = ring()
        assert got is wanted
        return wanted

    @rule()
    def put(self) -> None:
        payload = self.next()
        answer = self.expect(
            lambda: self.model.put(payload, self.policy), lambda: self.ring.put(self.wrapped(payload))
        )
        self.accepted += answer not in (None, PutResult.BLOCKED)

    @rule(policy=st.sampled_from(["block", "drop", "latest", "join", "replaced"]))
    def put_with_another_policy(self, policy) -> None:
        payload = self.next()
        answer = self.expect(
            lambda: self.model.put(payload, policy),
            lambda: self.ring.put(self.wrapped(payload), POLICIES[policy]),
        )
        self.accepted += answer not in (None, PutResult.BLOCKED)

    @rule()
    def put_control(self) -> None:
        payload = self.next()
        answer = self.expect(
            lambda: self.model.put_control(payload), lambda: self.ring.put(Message(CONTROL, payload))
        )
        self.accepted += answer is PutResult.OK

    @rule()
    def get(self) -> None:
        wanted = self.model.get()
        try:
            got = raw(self.ring.get())
        except IndexError:
            got = None
        assert got == wanted

    @rule(n=st.integers(0, 6))
    def offer(self, n) -> None:
        payloads = [self.next() for _ in range(n)]
        wanted = 0
        refused = False
        for payload in payloads:
            try:
                if self.model.put(payload, self.policy) is PutResult.BLOCKED:
                    break
            except Refused:
                refused = True
                break
            wanted += 1
        self.accepted += wanted
        self.ring.engine = deaf()
        items = [self.wrapped(payload) for payload in payloads]
        self.ring.mixed = self.ring.mixed or any(isinstance(item, Message) for item in items)
        try:
            if refused:
                with pytest.raises(ValueError, match="answered"):
                    self.ring.offer(items)
            else:
                assert self.ring.offer(items) == wanted
        finally:
            self.ring.engine = None

    @precondition(lambda self: self.policy == "block" and not self.ring.limited)
    @rule()
    def offer_one(self) -> None:
        payload = self.next()
        self.ring.engine = deaf()
        try:
            wanted = self.model.put(payload, "block") is PutResult.OK
            assert self.ring.offer_one(payload) == wanted
            self.accepted += wanted
        finally:
            self.ring.engine = None

    @precondition(lambda self: self.batch is None)
    @rule(k=st.integers(1, 5), put_back=st.booleans())
    def take(self, k, put_back) -> None:
        wanted = self.model.take(k)
        assert [raw(item) for item in self.ring.take(k, put_back)] == [payload for payload, _, _ in wanted]
        if put_back:
            self.batch = wanted
            self.model.reserved = wanted[1:]

    @precondition(lambda self: self.batch is not None)
    @rule(n=st.integers(0, 4))
    def settle(self, n) -> None:
        batch, self.batch = self.batch, None
        back = self.model.reserved[max(len(self.model.reserved) - n, 0) :] if n else []
        self.model.reserved = []
        self.model.data[:0] = back
        self.model.taken -= len(back)
        self.ring.settle(len(batch), [payload for payload, _, _ in back])

    @precondition(lambda self: self.model.control)
    @rule(k=st.integers(1, 3))
    def take_control(self, k) -> None:
        wanted, self.model.control = self.model.control[:k], self.model.control[k:]
        self.model.taken += len(wanted)
        assert [item.payload for item in self.ring.take_control(k)] == wanted

    @precondition(lambda self: self.model.max_age is not None)
    @rule(ns=st.integers(0, 2))
    def time_passes(self, ns) -> None:
        self.model.now += ns

    @precondition(lambda self: self.budget is not None)
    @rule(n=st.integers(0, 5))
    def other_edges_change(self, n) -> None:
        self.budget.charge(n - self.model.others)
        self.model.others = n

    @rule(capacity=st.integers(1, 5))
    def set_capacity(self, capacity) -> None:
        if self.model.counts() <= capacity:
            self.model.capacity = capacity
            self.ring.set_capacity(capacity)

    @invariant()
    def equal_in_everything_that_can_be_seen(self) -> None:
        ring, model = self.ring, self.model
        assert [raw(item) for item in ring.items] == [payload for payload, _, _ in model.data]
        assert [item.payload for item in ring.control or ()] == model.control
        assert (ring.depth(), ring.taken, ring.merged) == (model.depth(), model.taken, model.merged)
        assert (ring.lost or {}) == model.lost
        assert ring.depth() + len(model.reserved) <= model.capacity
        assert ring.accepted() == self.accepted
        assert ring.inside == 0
        if isinstance(ring, Ring):
            assert (ring.busy, ring.foreign) == (False, 0)
        if ring.limited:
            assert ring.bytes == model.bytes()
            assert ring.bytes <= (model.max_bytes if model.max_bytes is not None else 1 << 30)
            assert self.budget is None or self.budget.used == model.bytes() + model.others


def deaf() -> PythonEngine:
    """Return an engine that is only told."""

    def wake(self: PythonEngine, ring: Ring, own: bool) -> None:
        pass

    made: type[PythonEngine] = type("Deaf", (engine_type(),), {"wake": wake, "wake_control": wake})
    return made(Scope(), lambda: 0)


@pytest.mark.req("V3", "V7", "V14")
def test_the_ring_does_what_the_model_says():
    run_state_machine_as_test(RingMachine)


LENGTH = {"nightly": 7, "mutation": 3}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 5)


def steps(length: int) -> Any:
    return product(("put", "put_control", "get", "offer", "batch"), repeat=length)


@pytest.mark.req("V3", "V7", "V14")
@pytest.mark.parametrize("capacity", [0, 1, 2, 3])
@pytest.mark.parametrize("policy", ["block", "drop", "latest", "join", "breaks", "half"])
def test_every_short_sequence_of_operations_does_what_the_rules_say(policy: str, capacity: int):
    for sequence in steps(LENGTH):
        machine = RingMachine()
        machine.make(capacity, None, None, None, policy, False)
        for step in sequence:
            if step == "offer":
                machine.offer(2)
            elif step != "batch":
                getattr(machine, step)()
            elif machine.batch is None:
                machine.take(2, True)
            else:
                machine.settle(1)
        machine.equal_in_everything_that_can_be_seen()


@pytest.mark.req("V3")
@pytest.mark.parametrize("reach", ["policy", "function"])
def test_user_code_of_a_ring_that_puts_on_it_is_refused(reach: str):
    class Greedy:
        def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
            ring.put("again")
            return PutResult.OK

    ring = engine_type().ring_type(
        "a:o->b:i", 1, Greedy() if reach == "policy" else Coalesce(lambda old, new: ring.put("again"))
    )
    if reach == "policy":
        with pytest.raises(RuntimeError, match="own edge"):
            ring.put("first")
        assert ring.accepted() == 0
    else:
        assert [ring.put("first"), ring.put("second")] == [PutResult.OK, PutResult.COALESCED]
        assert (list(ring.items), ring.lost) == (["second"], {"coalesce_error": 1})
    assert ring.inside == 0
    assert getattr(ring, "foreign", 0) == 0


@pytest.mark.req("V3")
def test_a_merge_in_one_thread_does_not_refuse_the_put_of_another():
    merging, go_on = threading.Event(), threading.Event()

    def merge(old: Any, new: Any) -> Any:
        merging.set()
        assert go_on.wait(10)
        return old + new

    ring = engine_type().ring_type("a:o->b:i", 1, Coalesce(merge))
    ring.put(1)
    first = threading.Thread(target=ring.put, args=(2,))
    answers: list[PutResult] = []
    second = threading.Thread(target=lambda: answers.append(ring.put(4)))
    first.start()
    assert merging.wait(10)
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert (list(ring.items), ring.merged, answers) == ([7], 2, [PutResult.COALESCED])


@pytest.mark.req("V14")
def test_an_item_whose_size_nobody_can_tell_is_lost_and_counted():
    ring = engine_type().limited_ring_type("a:o->b:i", 4, Block(), max_bytes=100, size=len, clock=lambda: 0)
    assert [ring.put("four"), ring.put(5)] == [PutResult.OK, PutResult.DROPPED]
    assert (list(ring.items), ring.lost, ring.bytes) == (["four"], {"invalid": 1}, 4)


@pytest.mark.req("V14")
def test_an_item_that_comes_back_keeps_its_age():
    now = [0]
    ring = engine_type().limited_ring_type(
        "a:o->b:i", 4, Block(), max_age_ns=10, size=lambda item: 1, clock=lambda: now[0]
    )
    ring.put("a")
    ring.put("b")
    assert ring.take(2, True) == ["a", "b"]
    now[0] = 8
    ring.settle(2, ["b"])
    assert ring.head_age_ns() == 8
    now[0] = 11
    assert (ring.take(1), ring.lost) == ([], {"expired": 1})
