"""Corners of single steps and rings: what happens when something else moves between two lines of a slice."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian._tests.engine.conftest import python_only
from meridian.core.function import sink, source
from meridian.core.message import CONTROL, DATA, ERROR, Message, Scope
from meridian.core.node import Node
from meridian.core.policies import Block, Coalesce, Latest, Policy, PutResult
from meridian.core.subgraph import Subgraph
from meridian.engine.ready import Turn
from meridian.engine.ring import Budget, LimitedRing, Ring
from meridian.engine.select import engine_type
from meridian.engine.step import To
from meridian.runtime.plan import build_plan, collector_paused
from meridian.runtime.validate import validate, validate_together


class Meddler:
    """Stands for a ring's lock: the engine's thread takes it while another one is in its section."""

    def __init__(self, meddle: Callable[[], Any]) -> None:
        self.meddle = meddle
        self.times = 0

    def __enter__(self) -> None:
        self.times += 1
        self.meddle()

    def __exit__(self, *_: object) -> None:
        return None


# What the Python ring does there, the Rust ring needn't: its sections are one piece under the interpreter's lock. That real
# threads find both rings in order is shown by test_rings_beside_threads.py.
def meddle(ring: Ring, what: Callable[[], Any] = lambda: None) -> Meddler:
    """Let another thread be in a section of ``ring``, and do ``what`` there."""
    lock: Any = Meddler(what)
    ring._lock = lock
    ring.foreign = 1
    return lock  # type: ignore[no-any-return]


class Bench:
    """One node between an input ring and an output ring, with a clock that stands still."""

    def __init__(
        self,
        kind: str,
        fn: Any,
        *,
        capacity: int = 8,
        outputs: bool = True,
        ring: Ring | None = None,
        trusted: bool = False,
        wants_message: bool = False,
    ) -> None:
        self.engine = engine_type()(Scope(), lambda: 0)
        self.errors: list[BaseException] = []
        self.engine.on_error = lambda _node, _phase, error, _item, _port: self.errors.append(error)
        self.ring = self.engine.ring_type("in", 8, Block()) if ring is None else ring
        self.target = self.engine.ring_type("out", capacity, Block())
        self.engine.attach(self.ring, 0, "input", 2)
        self.engine.attach(self.target, 1, "input", 2)
        ports = {"output": [self.target]} if outputs else {}
        self.node = self.engine.add_node(0, "it", kind, fn, ports)
        self.node.trusted, self.node.wants_message = trusted, wants_message
        self.node.enveloped = wants_message
        self.reached: list[Any] = []
        self.engine.add_node(1, "end", "map", self.reached.append, {})
        if kind == "emit":
            self.node.put = self.node.make_put()

    def put(self, *items: Any, batch: int = 1) -> Turn:
        """Put ``items`` on the input; return its turn."""
        for item in items:
            self.ring.put(item)
        turn = self.ring.turn
        assert turn is not None
        turn.batch = batch
        return turn

    def step(self, turn: Turn) -> int:
        """Run one slice of ``turn``, as the engine does."""
        if turn in turn.line:
            turn.line.remove(turn)
        turn.queued = False
        return turn.run()

    def run(self) -> None:
        while self.engine.run(1 << 20, 1 << 60):
            pass


def shown(items: Any) -> list[Any]:
    """Return raw payloads as they are, and envelopes as (type, payload)."""
    return [(item.type, item.payload) if isinstance(item, Message) else item for item in items]


# ---- trusted functions ---------------------------------------------------------------------------------------


@python_only
def test_a_single_item_waits_until_another_thread_has_left_the_ring():
    bench = Bench("map", lambda x: x + 1, trusted=True)
    turn = bench.put(1)
    lock = meddle(bench.ring)
    assert bench.step(turn) == 1
    assert lock.times == 1
    assert list(bench.target.items) == [2]
    assert bench.ring.taken == 1


@python_only
def test_a_single_item_that_another_thread_took_meanwhile_is_not_handled():
    bench = Bench("map", lambda x: x + 1, trusted=True)
    turn = bench.put(1)
    meddle(bench.ring, bench.ring.items.clear)
    assert bench.step(turn) == 0
    assert list(bench.target.items) == []
    assert bench.ring.busy is False


@pytest.mark.parametrize("trusted", [True, False])
def test_a_result_whose_room_was_taken_during_the_call_is_parked_and_follows(trusted):
    def crowds(x: int) -> int:
        bench.target.put(x * 10)
        return x

    bench = Bench("map", crowds, capacity=1, trusted=trusted)
    assert bench.step(bench.put(1)) == 1
    assert list(bench.target.items) == [10]
    assert list(bench.node.parked or ()) == [("output", 1)]
    bench.run()
    assert bench.reached == [10, 1]
    assert not bench.node.parked
    assert bench.node.held == 0


def test_the_end_of_a_batch_whose_room_was_taken_during_the_calls_is_parked_and_follows():
    def crowds(x: int) -> int:
        if x == 1:
            bench.target.put(10)
        return x

    bench = Bench("map", crowds, capacity=3, trusted=True)
    assert bench.step(bench.put(1, 2, 3, batch=4)) == 3
    assert list(bench.target.items) == [10, 1, 2]
    bench.run()
    assert bench.reached == [10, 1, 2, 3]
    assert bench.errors == []


def test_a_batch_that_turns_out_to_hold_an_envelope_is_handled_by_the_general_step():
    bench = Bench("map", lambda x: x + 1, trusted=True)
    turn = bench.put(1, Message(DATA, 2), 3, batch=4)
    assert bench.step(turn) == 3
    assert shown(bench.target.items) == [2, (DATA, 3), 4]
    bench.put(5)
    assert bench.step(turn) == 1
    assert shown(bench.target.items) == [2, (DATA, 3), 4, 6]


# ---- functions in general ------------------------------------------------------------------------------------


def test_envelopes_raw_items_and_errors_keep_their_order_and_none_is_nothing():
    bench = Bench("map", lambda x: None if x % 2 else x)
    turn = bench.put(1, 2, Message(DATA, 3), Message(DATA, 4), Message(ERROR, 5), 6, batch=8)
    assert bench.step(turn) == 6
    assert shown(bench.target.items) == [2, (DATA, 4), (ERROR, 5), 6]


def test_a_function_of_messages_may_return_nothing_a_payload_or_a_message():
    answers: dict[int, Any] = {1: None, 2: "two", 3: Message(ERROR, "three"), 4: To("output", "four")}
    bench = Bench("map", lambda m: answers.get(m.payload, m), wants_message=True)
    parents = {n: Message(DATA, n) for n in (2, 4)}
    turn = bench.put(1, parents[2], 3, parents[4], 5, batch=8)
    assert bench.step(turn) == 5
    assert shown(bench.target.items) == [(DATA, "two"), (ERROR, "three"), (DATA, "four"), (DATA, 5)]
    assert [bench.target.items[i].headers["trace_id"] for i in (0, 2)] == [
        parents[n].headers["trace_id"] for n in (2, 4)
    ]


def test_a_result_for_a_named_output_inherits_the_trace_unless_it_is_a_message_already():
    own = Message(DATA, "own")
    bench = Bench("map", lambda x: To("output", own if x == 2 else x))
    first, second = Message(DATA, 1), Message(DATA, 2)
    bench.step(bench.put(first, second, batch=8))
    assert shown(bench.target.items) == [(DATA, 1), (DATA, "own")]
    assert bench.target.items[0].headers["trace_id"] == first.headers["trace_id"]
    assert bench.target.items[1] is own


# ---- sinks ---------------------------------------------------------------------------------------------------


def test_a_sink_of_payloads_skips_errors_and_unwraps_the_rest():
    seen: list[Any] = []
    bench = Bench("map", seen.append, outputs=False)
    assert bench.step(bench.put(1, Message(ERROR, 2), Message(DATA, 3), batch=8)) == 3
    assert seen == [1, 3]


@python_only
def test_a_sink_handles_nothing_when_another_thread_took_the_only_item_meanwhile():
    seen: list[Any] = []
    bench = Bench("map", seen.append, outputs=False)
    turn = bench.put(1)
    lock = meddle(bench.ring, bench.ring.items.clear)
    assert bench.step(turn) == 0
    assert lock.times >= 1
    assert seen == []
    assert bench.ring.taken == 0


# ---- functions with emit -------------------------------------------------------------------------------------


def test_a_function_with_emit_passes_errors_on_in_their_place():
    bench = Bench("emit", lambda x, emit: emit(x + 1))
    assert bench.step(bench.put(1, Message(ERROR, 2), Message(DATA, 3), batch=8)) == 3
    assert shown(bench.target.items) == [2, (ERROR, 2), (DATA, 4)]


def test_a_function_of_messages_with_emit_gets_raw_items_wrapped():
    bench = Bench("emit", lambda m, emit: emit((m.type.name, m.payload)), wants_message=True)
    assert bench.step(bench.put(1, 2, batch=8)) == 2
    assert shown(bench.target.items) == [(DATA, ("DATA", 1)), (DATA, ("DATA", 2))]


# ---- generators ----------------------------------------------------------------------------------------------


def test_a_generator_that_is_held_is_put_off_and_goes_on_when_released():
    bench = Bench("stream", lambda x: iter((x, x)))
    turn = bench.put(1)
    bench.node.hold()
    assert bench.step(turn) == 0
    assert bench.node.deferred == [turn]
    bench.node.release()
    bench.run()
    assert bench.reached == [1, 1]


def test_a_generator_starts_nothing_for_what_expired_while_it_waited():
    now = [0]
    ring = engine_type().limited_ring_type("in", 8, Block(), max_age_ns=5, size=len, clock=lambda: now[0])
    bench = Bench("stream", lambda x: iter((x,)), ring=ring)
    turn = bench.put("a")
    now[0] = 6
    assert bench.step(turn) == 0
    assert ring.lost == {"expired": 1}
    assert list(bench.target.items) == []


def test_a_generator_whose_room_was_taken_pauses_and_goes_on_in_order():
    def doubles(x: int) -> Iterator[int]:
        bench.target.put(x * 10)
        yield x
        yield x + 1

    bench = Bench("stream", doubles, capacity=1)
    turn = bench.put(1)
    assert bench.step(turn) == 1
    assert list(bench.node.parked or ()) == [("output", 1)]
    assert bench.node.deferred == [turn]
    bench.run()
    assert bench.reached == [10, 1, 2]


# ---- control and sources -------------------------------------------------------------------------------------


def test_control_waits_for_an_asynchronous_node_that_takes_no_more_work():
    seen: list[Any] = []

    def drive(rest: Iterator[Any], out: list[Any], port: str) -> None:
        seen.extend((port, message.payload) for message in rest)

    bench = Bench("drive", drive)
    bench.node.free = 0
    bench.ring.put(Message(CONTROL, "flush"))
    turn = bench.ring.control_turn
    assert turn is not None
    assert bench.step(turn) == 0
    assert seen == []
    assert bench.node.deferred == [turn]
    bench.node.free = 1
    bench.node.resume()
    bench.run()
    assert seen == [("input", "flush")]


def test_what_a_source_produced_without_room_is_parked_and_nothing_is_lost():
    def items() -> Iterator[int]:
        bench.target.put(10)
        yield 1
        yield 2

    bench = Bench("source", None, capacity=1, trusted=True)
    bench.engine.start_source(bench.node, items())
    assert bench.node.source_turn is not None
    assert bench.step(bench.node.source_turn) == 1
    assert list(bench.node.parked or ()) == [("output", 1)]
    bench.run()
    assert bench.reached == [10, 1, 2]
    assert bench.node.produced == 2
    assert bench.node.closed


# ---- rings ---------------------------------------------------------------------------------------------------


@python_only
def test_one_result_waits_until_another_thread_has_left_the_ring_and_queues_its_turn_once():
    bench = Bench("map", lambda x: x)
    lock = meddle(bench.target)
    assert bench.target.offer_one(1)
    assert lock.times == 1
    turn = bench.target.turn
    assert turn is not None
    bench.target.items.clear()
    assert bench.target.offer_one(2)
    assert turn.line.count(turn) == 1
    assert list(bench.target.items) == [2]


@python_only
def test_the_engine_puts_one_item_only_when_another_thread_has_left_the_ring():
    bench = Bench("map", lambda x: x)
    lock = meddle(bench.ring, lambda: bench.ring.items.append(1))
    assert bench.ring.put(2) is PutResult.OK
    assert lock.times == 1
    assert list(bench.ring.items) == [1, 2]
    assert bench.ring.busy is False


def waiting(bench: Bench) -> Turn:
    """Let a turn wait for room on the input ring."""
    turn = bench.engine.turn(1, 2)
    turn.run = lambda: 0
    bench.ring.wait(turn)
    return turn


@python_only
def test_the_end_of_a_batch_waits_for_other_threads_and_lets_producers_on():
    bench = Bench("map", lambda x: x)
    bench.put(1, 2, 3)
    assert bench.ring.take(3, True) == [1, 2, 3]
    assert bench.ring.room() == 6
    turn = waiting(bench)
    lock = meddle(bench.ring)
    bench.ring.settle(3, [3])
    assert lock.times == 1
    assert list(bench.ring.items) == [3]
    assert bench.ring.taken == 2
    assert bench.ring.waiters is None
    assert turn.line[-1] is turn


def test_nobody_is_let_on_by_a_ring_that_no_engine_runs():
    bench = Bench("map", lambda x: x)
    turn = waiting(bench)
    bench.ring.engine = None
    bench.ring.release(True)
    assert bench.ring.waiters == [turn]


def test_a_new_policy_lets_those_try_who_wait_for_room():
    bench = Bench("map", lambda x: x)
    turn = waiting(bench)
    bench.ring.set_policy(Latest())
    assert bench.ring.waiters is None
    assert list(turn.line) == [turn]


class PutsOnItsOwnEdge:
    """Tries what a policy must not do."""

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        self.ring.put(item)
        return PutResult.OK

    ring: Ring


def test_a_policy_must_not_put_on_its_own_edge():
    policy = PutsOnItsOwnEdge()
    checked: Policy = policy
    policy.ring = engine_type().ring_type("a->b", 2, checked)
    with pytest.raises(RuntimeError, match="must not put on or take from its own edge, a->b"):
        policy.ring.put(1)
    assert policy.ring.depth() == 0
    assert policy.ring.inside == 0
    assert getattr(policy.ring, "foreign", 0) == 0


def limited(size: Any = len, budget: Budget | None = None, **kw: Any) -> LimitedRing:
    return engine_type().limited_ring_type("in", 4, Block(), size=size, clock=lambda: 0, budget=budget, **kw)


@pytest.mark.parametrize("size", [lambda _: "3", lambda _: -1, lambda _: None])
def test_what_has_no_size_is_lost_as_invalid(size):
    ring = limited(size, max_bytes=10)
    assert ring.put("abc") is PutResult.DROPPED
    assert ring.lost == {"invalid": 1}
    assert ring.bytes == 0


def test_the_end_of_a_batch_lets_producers_on_where_bytes_were_given_back():
    ring = limited(max_bytes=4)
    bench = Bench("map", lambda x: x, ring=ring)
    bench.put("ab", "cd")
    assert ring.take(2, True) == ["ab", "cd"]
    turn = waiting(bench)
    ring.settle(2, [])
    assert ring.bytes == 0
    assert ring.waiters is None
    assert list(turn.line)[-1] is turn


def test_ages_stay_the_same_when_the_clock_is_exchanged():
    now = [7]
    ring = engine_type().limited_ring_type("in", 4, Block(), max_age_ns=100, size=len, clock=lambda: now[0])
    ring.put("a")
    now[0] = 10
    ring.use(None, lambda: now[0])
    assert ring.head_age_ns() == 3
    ring.use(None, lambda: now[0] + 1000)
    assert ring.head_age_ns() == 3


def test_a_limited_ring_takes_over_the_control_lane_of_another():
    other = engine_type().ring_type("in", 4, Block())
    other.put(Message(CONTROL, "c"))
    other.put("ab")
    ring = limited(max_bytes=10)
    ring.take_over(other)
    assert (ring.depth(), ring.bytes, ring.room()) == (2, 2, 2)
    plain = engine_type().ring_type("in", 4, Block())
    plain.put("xyz")
    without = limited(max_bytes=10)
    without.take_over(plain)
    assert (without.depth(), without.bytes, without.control) == (1, 3, None)


@pytest.mark.parametrize(
    ("old", "new"), [(Message(DATA, 1), Message(DATA, 2)), (1, Message(DATA, 2)), (Message(DATA, 1), 2)]
)
def test_a_failing_merge_of_payloads_is_tried_with_the_envelopes_only_where_both_are(old, new):
    calls: list[tuple[Any, Any]] = []

    def only_envelopes(a: Any, b: Any) -> Any:
        calls.append((a, b))
        return Message(DATA, a.payload + b.payload)

    ring = engine_type().ring_type("in", 1, Coalesce(only_envelopes))
    ring.put(old)
    assert ring.put(new) is PutResult.COALESCED
    if isinstance(old, Message) and isinstance(new, Message):
        assert calls == [(1, 2), (old, new)]
        assert shown(ring.items) == [(DATA, 3)]
        assert ring.lost is None
    else:
        assert calls == [(1, 2)]
        assert list(ring.items) == [new]
        assert ring.lost == {"coalesce_error": 1}


# ---- who runs next, and plans --------------------------------------------------------------------------------


def test_asking_an_empty_queue_for_a_turn_is_an_error():
    with pytest.raises(IndexError, match="no turn is due"):
        engine_type().queue_type().pick()


def chain(name: str, *edges: tuple[str, str]) -> Subgraph:
    """A graph of nodes without behaviour, joined as said."""
    graph = Subgraph(name)
    for end in dict.fromkeys(end for edge in edges for end in edge):
        graph.add_node(Node.with_ports(end, ["input"], ["output"]))
    for a, b in edges:
        graph.connect((a, "output"), (b, "input"), 4)
    return graph


def test_the_edge_that_closes_a_cycle_adds_no_level():
    plan = build_plan([chain("g", ("a", "b"), ("b", "c"), ("c", "a"))])
    assert plan.levels() == [1, 1, 2]
    assert build_plan([chain("g", ("a", "a"))]).levels() == [1]


def test_every_node_of_two_joined_cycles_stops_once():
    plan = build_plan([chain("g", ("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "a"))])
    assert sorted(plan.stop_order()) == [0, 1, 2]
    assert plan.stop_order() == [2, 1, 0]


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_as_it_was_after_a_pause(collecting):
    before = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()


def test_one_node_object_in_two_graphs_under_two_names_is_an_error():
    end = sink(print, name="end").node()
    first, second = Subgraph("first"), Subgraph("second")
    first.add_node(end)
    second.add_node(end, name="other")
    messages = [issue.message for issue in validate_together([first, second]) if issue.code == "DUP_NODE"]
    assert messages == ["one node object stands in the graph as 'end' and as 'other'"]


def test_two_graphs_with_one_name_for_a_node_are_an_error():
    first, second = Subgraph("first"), Subgraph("second")
    first.add_node(source([1], name="a"))
    second.add_node(source([1], name="a"))
    messages = [issue.message for issue in validate_together([first, second]) if issue.code == "DUP_NODE"]
    assert messages == ["two registered graphs have a node 'a': rename one of them"]


@pytest.mark.parametrize("limit", [{"max_bytes": 0}, {"max_age_s": 0.0}])
def test_a_limit_that_lets_nothing_through_is_an_error(limit):
    graph = chain("g", ("a", "b"))
    edge = graph.edges[0]
    for name, value in limit.items():
        setattr(edge, name, value)
    assert [issue.message for issue in validate(graph) if issue.code == "BAD_LIMIT"] == [
        f"edge {edge.id}: max_bytes and max_age_s must be positive"
    ]


def test_a_node_that_two_ways_of_a_cyclic_graph_lead_to_is_looked_at_once():
    graph = chain("g", ("a", "b"), ("b", "d"), ("a", "c"), ("c", "d"), ("d", "e"), ("e", "d"))
    warnings = [issue.message for issue in validate(graph) if issue.code == "CYCLE"]
    assert warnings == ["nodes feed each other: d -> e -> d; if all these edges fill up, none can move"]
