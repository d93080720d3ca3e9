"""One ring of each engine, driven with the same operations: results, errors, lanes, counts and calls have to be equal."""

from __future__ import annotations

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

from meridian._tests.parity.parts import ENGINES, POLICIES, Interrupt, outcome, told
from meridian.core.message import CONTROL, DATA, ERROR, Message, Scope
from meridian.core.policies import block
from meridian.engine.ring import BLOCK, BLOCKED, DROPPED, OK
from meridian.engine.select import engine_type
from meridian.engine.sizes import payload_bytes

TYPES = {"data": DATA, "error": ERROR, "control": CONTROL}


class Index:
    """A whole number that is no int."""

    def __index__(self) -> int:
        return 1


def no_size(payload: Any) -> int:
    raise ValueError("can't be told")


SIZES = {
    "sum": lambda payload: sum(n % 4 for n in payload),
    "one": lambda payload: True,
    "huge": lambda payload: payload[-1] << 62,
    "none": no_size,
    "negative": lambda payload: -1,
    "text": lambda payload: "1",
    "float": lambda payload: 1.0,
    "index": lambda payload: Index(),
    "sometimes": lambda payload: 1 if payload[-1] % 3 else no_size(payload),
}


class Side:
    """One engine with a node that collects, and a ring that may lead to it.

    Attributes:
        now: Nanoseconds; the test's.
        looks: Somebody looks at how long items spend on the ring, all the time.
        log: What was called from within, in order.
    """

    def __init__(self, name: str) -> None:
        self.now = 0
        self.log: list[Any] = []
        self.kinds = kinds = engine_type(name)
        self.engine = kinds(Scope(), lambda: self.now)
        self.engine.arm = self.arm
        self.engine.on_error = lambda *args: self.log.append(
            ("error", told(args[:2]), outcome(lambda: args[2]))
        )
        self.engine.add_node(1, "end", "map", lambda item: self.log.append(("seen", told(item))), {})
        self.attached = self.armed = self.looks = False
        self.turns: list[Any] = []
        self.batch: list[Any] | None = None
        self.gone: list[Any] | None = None
        self.budget: Any = None

    def make(self, capacity: int, policy: str, limits: dict[str, Any] | None, size: str) -> None:
        """Make the ring."""
        if limits is None:
            self.ring = self.kinds.ring_type("a->b", capacity, self.policy(policy))
        else:
            limit = limits["limit"]
            self.budget = None if limit is None else self.kinds.budget_type(limit)
            self.ring = self.kinds.limited_ring_type(
                "a->b", capacity, self.policy(policy), max_bytes=limits["max_bytes"],
                max_age_ns=limits["max_age"], budget=self.budget, size=SIZES[size], clock=lambda: self.now,
            )  # fmt: skip
            if self.budget is not None:
                self.budget.add(self.ring, limits["share"])
        self.ring.on_loss = lambda edge, cause, n, error: self.log.append(
            ("lost", edge, cause, n, type(error), str(error))
        )

    def arm(self) -> None:
        self.armed = True

    def policy(self, name: str) -> Any:
        return POLICIES[name](lambda: self.ring)

    def another(self, payloads: list[Any], control: bool) -> Any:
        """Return a ring that was used before, to take over from."""
        other = self.kinds.ring_type("c->d", 3, POLICIES["latest"](None))
        if control:
            other.put(Message(CONTROL, ("stop",)))
        for payload in payloads:
            other.put(payload)
        if payloads:
            other.get()
        return other

    def wait(self) -> None:
        turn = self.engine.turn(1, 2)
        n = len(self.turns)
        turn.run = lambda: self.log.append(("let on", n)) or 1
        self.turns.append(turn)
        self.ring.wait(turn)

    def known(self, turn: Any) -> Any:
        """Return a turn's number, or its place in the ring."""
        if turn is self.ring.turn:
            return "data"
        if turn is self.ring.control_turn:
            return "control"
        return next(n for n, each in enumerate(self.turns) if each is turn)

    def seen(self) -> dict[str, Any]:
        """Return all that can be seen."""
        ring = self.ring
        names = (
            "capacity", "space", "low", "kind", "mixed", "taken", "taken_control", "merged", "waits", "blocked_ns", "node", "port",
            "limited", "inside",
        )  # fmt: skip
        seen = {name: getattr(ring, name) for name in names}
        seen["lost"] = ring.lost and dict(ring.lost)
        seen["lanes"] = (
            told(list(ring.items)),
            ring.control if ring.control is None else told(list(ring.control)),
        )
        seen["counts"] = ring.depth(), len(ring), ring.accepted(), outcome(ring.room)
        seen["waiters"] = [self.known(turn) for turn in ring.waiters or ()]
        seen["blocked_s"] = ring.blocked_s(self.now)
        seen["lines"] = [[self.known(turn) for turn in line] for line in self.engine.queue.lines]
        seen["turns"] = [(turn.queued, turn.since, turn.waits_for is ring) for turn in self.turns]
        if self.looks:  # each time, as the engines begin sections of a ring differently often
            seen["head"] = ring.time_hops(lambda: self.now)
            seen["hops"] = ring.timing, ring.hops and ring.hops.times.counts
        if ring.limited:
            seen["limits"] = ring.bytes, ring.head_age_ns(), ring.budget_share
        seen["budget"] = self.budget and self.budget.used
        seen["log"] = self.log
        return seen


bounds = st.integers(0, 9) | st.integers(0, 9).map(lambda n: n << 62)
payloads = st.lists(st.integers(0, 9), min_size=1, max_size=2).map(tuple)
items = st.tuples(payloads, st.sampled_from([None, None, "data", "error"]))


def item(drawn: tuple[Any, str | None]) -> Any:
    payload, kind = drawn
    return payload if kind is None else Message(TYPES[kind], payload)


class Rings(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(0, 4),
        policy=st.sampled_from(sorted(POLICIES)),
        limits=st.none()
        | st.fixed_dictionaries(
            {
                "max_bytes": st.none() | bounds,
                "max_age": st.none() | st.integers(0, 3),
                "limit": st.none() | bounds,
                "share": st.integers(0, 6) | st.just(1 << 64),
            }
        ),
        size=st.sampled_from(sorted(SIZES)) | st.just("sum"),
    )
    def make(self, capacity: int, policy: str, limits: Any, size: str) -> None:
        self.sides = [Side(name) for name in ENGINES]
        for side in self.sides:
            side.make(capacity, policy, limits, size)

    @property
    def ring(self) -> Any:
        return self.sides[0].ring

    @property
    def attached(self) -> bool:
        return self.sides[0].attached

    def both(self, do: Any) -> Any:
        """Do it on both sides; the results are equal."""
        python, rust = (outcome(lambda side=side: do(side)) for side in self.sides)
        assert rust == python, (python, rust)
        return python

    @rule(drawn=items, policy=st.none() | st.sampled_from(sorted(POLICIES)))
    def put(self, drawn: Any, policy: str | None) -> None:
        given = item(drawn)
        self.both(lambda side: side.ring.put(given, None if policy is None else side.policy(policy)))

    @rule(payload=payloads)
    def put_control(self, payload: Any) -> None:
        message = Message(CONTROL, payload)
        self.both(lambda side: side.ring.put(message))

    @rule()
    def get(self) -> None:
        self.both(lambda side: side.ring.get())

    @rule(drawn=items)
    def ask(self, drawn: Any) -> None:
        given = item(drawn)
        self.both(lambda side: (side.ring.fits(given), side.ring.weigh(given), side.ring.room()))

    @precondition(lambda self: self.attached)
    @rule(drawn=st.lists(items, max_size=5))
    def offer(self, drawn: Any) -> None:
        given = [item(each) for each in drawn]

        def offer(side: Side) -> Any:
            if any(isinstance(each, Message) for each in given):
                side.ring.mixed = True  # as the kernel does
            return side.ring.offer(list(given))

        self.both(offer)

    @precondition(lambda self: self.attached and self.ring.kind == BLOCK and not self.ring.limited)
    @rule(payload=payloads)
    def offer_one(self, payload: Any) -> None:
        self.both(lambda side: side.ring.offer_one(payload))

    @precondition(lambda self: self.sides[0].batch is None)
    @rule(k=st.integers(1, 5), put_back=st.booleans())
    def take(self, k: int, put_back: bool) -> None:
        def take(side: Side) -> Any:
            taken = side.ring.take(k, put_back)
            side.batch = taken if put_back else None
            side.gone = None if put_back else taken
            return taken

        self.both(take)

    @precondition(lambda self: self.sides[0].batch is not None)
    @rule(n=st.integers(0, 4))
    def settle(self, n: int) -> None:
        def settle(side: Side) -> None:
            batch, side.batch = side.batch or [], None
            side.ring.settle(len(batch), batch[1:][max(len(batch) - 1 - n, 0) :])

        self.both(settle)

    @precondition(lambda self: self.sides[0].gone is not None)
    @rule(n=st.integers(0, 4))
    def bring_back(self, n: int) -> None:
        """What was taken for good comes back, or the end of it: the run ended amid the batch."""

        def bring_back(side: Side) -> None:
            gone, side.gone = side.gone or [], None
            side.ring.settle(0, gone[max(len(gone) - n, 0) :])

        self.both(bring_back)

    @rule(k=st.integers(1, 3))
    def take_control(self, k: int) -> None:
        self.both(lambda side: side.ring.take_control(k))

    @rule(capacity=st.integers(0, 5))
    def set_capacity(self, capacity: int) -> None:
        self.both(lambda side: side.ring.set_capacity(capacity))

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def set_policy(self, policy: str) -> None:
        self.both(lambda side: side.ring.set_policy(side.policy(policy)))

    @rule(cause=st.sampled_from(["invalid", "dropped", "replaced", "of one's own"]), n=st.integers(1, 3))
    def refuse(self, cause: str, n: int) -> None:
        self.both(lambda side: side.ring.refuse(cause, n))

    @rule(cause=st.sampled_from(["dropped", "replaced"]), failed=st.booleans())
    def lose(self, cause: str, failed: bool) -> None:
        self.both(lambda side: side.ring.lose(cause, 1, KeyError("k") if failed else None))

    @precondition(lambda self: not self.attached and self.ring.depth() == 0 and self.ring.accepted() == 0)
    @rule(drawn=st.lists(payloads, max_size=4), control=st.booleans())
    def take_over(self, drawn: Any, control: bool) -> None:
        self.both(lambda side: side.ring.take_over(side.another(drawn, control)))

    @rule()
    def look(self) -> None:
        for side in self.sides:
            side.looks = True

    @rule(ns=st.integers(0, 3))
    def time_passes(self, ns: int) -> None:
        for side in self.sides:
            side.now += ns

    @precondition(lambda self: self.sides[0].budget is not None)
    @rule(n=st.integers(-3, 5))
    def other_edges_change(self, n: int) -> None:
        if self.sides[0].budget.used + n >= 0:
            self.both(lambda side: side.budget.charge(n))

    @precondition(lambda self: self.ring.limited)
    @rule(ns=st.integers(0, 9))
    def use_another_clock(self, ns: int) -> None:
        self.both(lambda side: side.ring.use(side.budget, lambda: side.now + ns))

    @precondition(lambda self: not self.attached)
    @rule(band=st.integers(0, 2))
    def attach(self, band: int) -> None:
        def attach(side: Side) -> None:
            side.engine.attach(side.ring, 1, "in", band)
            side.attached = True

        self.both(attach)

    @precondition(lambda self: self.attached and self.sides[0].batch is None)  # no run ends within a slice
    @rule()
    def detach(self) -> None:
        def detach(side: Side) -> None:
            side.engine.detach()
            side.engine.rings.clear()
            for line in side.engine.queue.lines:
                while line:
                    line.popleft()
            side.attached = False
            side.gone = None  # counts begin anew, and what was taken before is none of theirs
            side.turns.clear()

        self.both(detach)

    @precondition(lambda self: self.attached)
    @rule()
    def wait(self) -> None:
        self.both(Side.wait)

    @rule(own=st.booleans())
    def release(self, own: bool) -> None:
        self.both(lambda side: (side.ring.release(own), len(side.engine.knocks)))

    @precondition(lambda self: self.sides[0].turns)
    @rule(n=st.integers(0, 9))
    def forget(self, n: int) -> None:
        self.both(lambda side: side.ring.forget(side.turns[n % len(side.turns)]))

    @precondition(lambda self: self.attached)
    @rule(messages=st.integers(1, 6))
    def run(self, messages: int) -> None:
        self.both(lambda side: side.engine.run(messages, 1 << 60))

    @precondition(lambda self: self.attached)
    @rule(band=st.integers(0, 2))
    def set_band(self, band: int) -> None:
        self.both(lambda side: side.engine.set_band(side.ring, band))

    @invariant()
    def equal_in_everything_that_can_be_seen(self) -> None:
        python, rust = (side.seen() for side in self.sides)
        differing = {name: (told, rust[name]) for name, told in python.items() if told != rust[name]}
        assert not differing, differing
        # The Rust ring asks for a slice whenever it queues a turn outside of one, the Python ring leaves some of that to others.
        assert self.sides[1].armed >= self.sides[0].armed
        for side in self.sides:
            side.log.clear()
            side.armed = False


@pytest.mark.req("N2.1", "V3")
def test_two_rings_do_the_same():
    run_state_machine_as_test(Rings)


def test_the_machine_knows_an_interrupt_from_a_failure():
    assert outcome(lambda: [Message(DATA, (1,))]) == [("DATA", [1])]
    assert outcome(POLICIES["interrupts"](None).answer) == (Interrupt, "policy")


@pytest.mark.req("N2.1", "V14")
@pytest.mark.parametrize("held", [(), (1, 2)])
def test_another_clock_lets_those_on_who_wait_if_bytes_came_free_meanwhile_and_else_nobody(held):
    machine = Rings()
    limits = {"max_bytes": None, "max_age": None, "limit": 9, "share": 0}
    machine.make(capacity=1, policy="block", limits=limits, size="sum")
    machine.attach(band=0)
    if held:
        machine.put((held, None), None)
    machine.wait()
    machine.use_another_clock(ns=1)
    machine.equal_in_everything_that_can_be_seen()
    assert [turn.waits_for is None for turn in machine.sides[0].turns] == [bool(held)]


@pytest.mark.req("N2.1", "V14")
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("exponent", [31, 62, 63, 64, 90])
def test_a_size_may_be_any_number_of_bytes(name, exponent):
    size = 1 << exponent
    kinds = engine_type(name)
    budget = kinds.budget_type(4 * size)
    ring = kinds.limited_ring_type(
        "a->b", 9, block(), max_bytes=2 * size, budget=budget, size=lambda n: n * size, clock=lambda: 0
    )
    budget.add(ring, 3 * size)
    assert [ring.put(n) for n in (1, 2, 3, 1)] == [OK, BLOCKED, DROPPED, OK]
    assert (ring.bytes, budget.used, ring.max_bytes, ring.budget_share) == (
        2 * size, 2 * size, 2 * size, 3 * size,
    )  # fmt: skip
    assert (ring.get(), ring.bytes, budget.used) == (1, size, size)
    assert ring.lost == {"invalid": 1}


@pytest.mark.parametrize("name", ENGINES)
def test_a_size_without_measure_fits_only_where_the_limit_has_none_either(name):
    def ring(most: int) -> Any:
        return engine_type(name).limited_ring_type(
            "a->b", 9, block(), max_bytes=most, size=lambda n: 1 << 999, clock=lambda: 0
        )

    assert (ring(1 << 99).put("x"), ring(1 << 999).put("x")) == (DROPPED, OK)


class Text(str):
    """Text of a class of its own."""

    __slots__ = ()


@pytest.mark.req("N2.1", "V14")
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abcd")[::2],
        "",
        "abc",
        "ä€",
        "\ud800",
        Text("ä"),
        7,
        None,
        ("a",),
    ],
    ids=ascii,
)
def test_without_a_function_of_its_own_a_ring_counts_what_payload_bytes_says(name, payload):
    ring = engine_type(name).limited_ring_type("a->b", 9, block(), size=payload_bytes, clock=lambda: 0)
    for item in (payload, Message(DATA, payload)):
        ring.put(item)
    assert ring.bytes == 2 * payload_bytes(payload)
