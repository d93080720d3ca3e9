"""What the kernel does in its corners: on ports that lead nowhere, on full edges, beside other threads."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from meridian.core.errors import BackpressureError
from meridian.core.message import CONTROL, DATA, Message, MessageType, Scope
from meridian.core.policies import Block, Drop, PutResult, drop
from meridian.core.schema import compile_schema
from meridian.engine import node as node_module
from meridian.engine.node import NodeState
from meridian.engine.ready import CONTROL_BAND, HIGH_BAND, NORMAL_BAND
from meridian.engine.ring import Budget, LimitedRing, Ring
from meridian.engine.select import engine_type
from meridian.engine.step import BUSY, PARKED, To


class AtMostTwo:
    """A policy of one's own: blocks at two items, whatever the capacity."""

    def on_enqueue(self, capacity: int, size: int, item: Any, /) -> PutResult:
        return PutResult.OK if size < 2 else PutResult.BLOCKED


class Bench:
    """A node 0 with rings to a node 1, which collects what it gets; time stands still."""

    def __init__(self) -> None:
        self.engine = engine_type()(Scope(now=7.0), lambda: 0)
        self.errors: list[tuple[int, str, str]] = []
        self.invalid: list[str] = []
        self.armed: list[str] = []
        self.seen: list[Any] = []
        self.engine.on_error = lambda node, phase, error, *_: self.errors.append((node, phase, str(error)))
        self.engine.on_invalid = self.invalid.append
        self.engine.arm = lambda: self.armed.append("here")
        self.engine.arm_from_thread = lambda: self.armed.append("elsewhere")
        self.engine.add_node(1, "seen", "map", self.seen.append, {})

    def ring(
        self, id: str = "r", capacity: int = 4, policy: Any = None, schema: Any = None, to: int = 1
    ) -> Ring:
        ring = self.engine.ring_type(
            id, capacity, policy or Block(), compile_schema(schema) if schema else None
        )
        self.engine.attach(ring, to, "in", NORMAL_BAND)
        return ring

    def node(self, kind: str = "call", fn: Any = None, **ports: list[Ring]) -> NodeState:
        return self.engine.add_node(0, "n", kind, fn, ports)

    def run(self) -> None:
        while self.engine.run(1000, 1):
            pass


def in_a_thread(fn: Any) -> Any:
    out: list[Any] = []

    def call() -> None:
        try:
            out.append(fn())
        except Exception as error:
            out.append(error)

    thread = Thread(target=call)
    thread.start()
    thread.join()
    return out[0]


def data(payload: Any) -> Message[Any]:
    return Message(DATA, payload)


def control(payload: Any) -> Message[Any]:
    return Message(CONTROL, payload)


def payloads(ring: Ring) -> list[Any]:
    return [item.payload if isinstance(item, Message) else item for item in ring.items]


@contextmanager
def another_thread_makes_the_inbox_first(node: NodeState, monkeypatch: pytest.MonkeyPatch):
    class Lock:
        def __enter__(self) -> None:
            node.inbox = deque([("out", data("theirs"))])

        def __exit__(self, *_: object) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr(node_module, "_making_inbox", Lock())
        yield


# ---- a node that is busy anyway ------------------------------------------------------------------------------


def test_a_busy_node_takes_nothing_more_for_a_turn_whose_ring_is_empty_or_absent():
    bench = Bench()
    node, ring = bench.node("drive"), bench.ring(to=0)
    node.held = BUSY
    ring.turn = turn = bench.engine.turn(0, NORMAL_BAND)
    node.put_off(turn)
    assert node.next_while_busy() is None
    turn.ring = ring
    assert node.next_while_busy() is None
    assert node.deferred == [turn]


@pytest.mark.parametrize(("band", "kind"), [(NORMAL_BAND, DATA), (CONTROL_BAND, CONTROL)])
def test_a_busy_node_that_takes_messages_gets_a_raw_item_wrapped_as_its_band_says(band, kind):
    bench = Bench()
    node, ring = bench.node("drive"), bench.ring(to=0)
    node.held, node.wants_message = BUSY, True
    turn = bench.engine.turn(0, band)
    turn.ring = ring
    ring.turn = turn
    node.put_off(turn)
    ring.put("raw")
    (taken,), port = node.next_while_busy()
    assert (taken.type, taken.payload, taken.headers["timestamp"], port) == (kind, "raw", 7.0, "in")
    assert (node.deferred, turn.queued) == ([], False)


# ---- results -------------------------------------------------------------------------------------------------


def test_a_single_result_that_is_an_envelope_marks_the_ring_as_mixed():
    bench = Bench()
    ring = bench.ring(capacity=1)
    node = bench.node(out=[ring])
    node.hand_on_one(data(1))
    assert (ring.mixed, payloads(ring), node.parked) == (True, [1], None)
    node.hand_on_one(2)
    assert list(node.parked) == [("out", 2)]


def test_a_result_waits_for_the_ring_that_what_is_parked_already_waits_for():
    bench = Bench()
    full, free = bench.ring("full", 1), bench.ring("free")
    node = bench.node(a=[full], b=[free])
    node.deliver("a", [1, 2])
    assert node.try_result(To("b", 3)) is full
    assert list(node.parked) == [("a", 2)]
    full.get()
    assert node.full_for(To("b", 3)) is full, "there is room, but what is parked goes first"


def test_results_of_another_thread_reach_the_ring_in_order_until_the_inbox_is_full():
    bench = Bench()
    ring = bench.ring()
    node = bench.node(out=[ring], other=[])
    node.max_parked = 3
    put = node.put_from_thread
    assert in_a_thread(lambda: [put(1), put(To("other", 2)), put(3), put(4)]) == [True, True, True, False]
    assert list(node.inbox) == [("out", 1), ("other", 2), ("out", 3)]
    assert bench.armed == ["elsewhere"] * 3
    bench.run()
    assert bench.seen == [1, 3]
    assert not node.held


def test_two_threads_that_are_the_first_to_put_share_one_inbox(monkeypatch):
    bench = Bench()
    node = bench.node(out=[bench.ring()])
    with another_thread_makes_the_inbox_first(node, monkeypatch):
        assert node.put_from_thread("ours")
    assert [getattr(item, "payload", item) for _, item in node.inbox] == ["theirs", "ours"]


def test_two_threads_that_are_the_first_to_emit_share_one_inbox(monkeypatch):
    bench = Bench()
    node = bench.node(out=[bench.ring()])
    emit = node.make_emit()
    with another_thread_makes_the_inbox_first(node, monkeypatch):
        in_a_thread(lambda: emit("out", data("ours")))
    assert [item.payload for _, item in node.inbox] == ["theirs", "ours"]


def test_a_result_for_an_output_that_does_not_exist_is_an_error_that_names_those_that_do():
    bench = Bench()
    ring = bench.ring()
    bench.node(out=[ring], other=[]).route([1, To("nowhere", 2), 3])
    assert payloads(ring) == [1, 3]
    assert len(bench.errors) == 1
    assert "node 'n' has no output 'nowhere'; its outputs: 'out', 'other'" in bench.errors[0][2]


def test_a_result_that_does_not_fit_the_schema_is_lost_and_the_others_arrive():
    bench = Bench()
    ring = bench.ring(schema=int)
    node = bench.node(out=[ring])
    node.route([1, "two", 3])
    assert payloads(ring) == [1, 3]
    assert ring.lost == {"invalid": 1}
    assert bench.errors == [
        (0, "on_message", "edge r refused <str>: it doesn't fit the schema of the input port")
    ]


def test_only_data_is_held_against_the_schema():
    bench = Bench()
    ring = bench.ring(schema=int)
    node = bench.node(out=[ring])
    assert node.admits([ring], control("text"))
    assert not node.admits([ring], data("text"))


def test_what_a_policy_of_ones_own_blocks_is_parked_and_arrives_later():
    bench = Bench()
    ring = bench.ring(capacity=9, policy=AtMostTwo())
    node = bench.node(out=[ring])
    node.deliver("out", [1, 2, 3, 4])
    assert payloads(ring) == [1, 2]
    assert list(node.parked) == [("out", 3), ("out", 4)]
    bench.run()
    assert bench.seen == [1, 2, 3, 4]


def test_a_policy_of_ones_own_that_blocks_for_want_of_bytes_is_not_asked_without_end():
    bench = Bench()
    ring = bench.engine.limited_ring_type("r", 9, AtMostTwo(), max_bytes=3, size=len, clock=lambda: 0)
    bench.engine.attach(ring, 1, "in", NORMAL_BAND)
    node = bench.node(out=[ring])
    node.deliver("out", ["ab", "cd", "ef"])
    assert payloads(ring) == ["ab"]
    assert node.try_result("gh") is ring
    bench.engine.run(1000, 1)
    bench.run()
    assert bench.seen == ["ab", "cd", "ef"]
    assert (ring.waits, ring.bytes) == (2, 0)


# ---- CONTROL -------------------------------------------------------------------------------------------------


def test_control_on_an_output_without_edges_is_unrouted():
    bench = Bench()
    node = bench.node(out=[])
    node.route([control("stop")])
    assert node.unrouted == 1


def test_control_waits_before_parked_data_and_behind_parked_control():
    bench = Bench()
    ring = bench.ring(capacity=1)
    node = bench.node(out=[ring])
    node.deliver("out", [1, 2])
    first, second = control("first"), control("second")
    node.route([first, second])
    assert list(node.parked) == [("out", first), ("out", second), ("out", 2)]


def test_a_function_that_takes_payloads_passes_control_on_to_every_output():
    bench = Bench()
    a, b = bench.ring("a"), bench.ring("b")
    stop = control("stop")
    bench.node("map", None, a=[a], b=[b]).handle_control(stop, "in")
    assert (list(a.control), list(b.control)) == ([stop], [stop])


@pytest.mark.parametrize("kind", ["map", "stream"])
def test_a_function_that_takes_messages_answers_control_itself(kind):
    bench = Bench()
    ring = bench.ring()

    def answer(message: Message[Any]) -> Any:
        result = message.payload + 1
        return iter([result]) if kind == "stream" else result

    node = bench.node(kind, answer, out=[ring])
    node.wants_message = True
    node.handle_control(control(1), "in")
    assert payloads(ring) == [2]
    assert bench.engine.scope.handling is None


def test_a_function_with_an_emit_that_takes_messages_gets_control():
    bench = Bench()
    ring = bench.ring()
    node = bench.node("emit", lambda message, put: put(message.payload * 2), out=[ring])
    node.wants_message, node.put = True, node.make_put()
    node.handle_control(control(4), "in")
    assert node.out == [8]
    node.flush()
    assert payloads(ring) == [8]


def test_an_asynchronous_node_drives_control_and_hands_on_what_comes_of_it():
    bench = Bench()
    ring = bench.ring()

    def drive(rest: Any, out: list[Any], port: str) -> None:
        out += [(port, message.payload) for message in rest]

    bench.node("drive", drive, out=[ring]).handle_control(control("go"), "in")
    assert payloads(ring) == [("in", "go")]


def test_control_from_another_thread_is_queued_when_the_engine_next_runs():
    bench = Bench()
    ring = bench.ring(to=0)
    got: list[Any] = []
    bench.node("call", lambda port, message: got.append((port, message.payload)))
    assert in_a_thread(lambda: ring.put(control("stop"))) is PutResult.OK
    assert (ring.control_turn, bench.armed) == (None, ["elsewhere"])
    bench.run()
    assert got == [("in", "stop")]


# ---- parked --------------------------------------------------------------------------------------------------


def test_what_was_parked_for_edges_that_are_gone_is_unrouted():
    bench = Bench()
    here, gone = bench.ring("here", 0), bench.engine.ring_type("gone", 1, Block())
    node = bench.node(out=[here], empty=[])
    node.take_over([("out", 1), (gone, 2), ("empty", 3), (here, 4), ("removed", 5)])
    assert list(node.parked) == [("out", 1), (here, 4)]
    assert node.unrouted == 3


def test_a_busy_node_does_not_resume_when_its_parked_messages_are_gone():
    bench = Bench()
    ring = bench.ring(capacity=1)
    node = bench.node(out=[ring])
    node.hold()
    node.deliver("out", [1, 2])
    turn = bench.engine.turn(0, NORMAL_BAND)
    node.put_off(turn)
    assert node.held == BUSY | PARKED
    ring.get()
    assert node.unpark() == 1
    assert (node.held, node.deferred) == (BUSY, [turn])
    turn.run = lambda: 0
    node.release()
    assert (node.held, node.deferred) == (0, None)
    assert turn in turn.line


# ---- emit ----------------------------------------------------------------------------------------------------


def test_emitting_from_another_thread_where_nothing_is_connected_is_unrouted():
    bench = Bench()
    node = bench.node(out=[])
    message = data(1)
    assert in_a_thread(lambda: node.make_emit()("out", message)) is message
    assert (node.unrouted, node.inbox, bench.armed) == (1, None, [])


def test_another_thread_is_refused_when_the_inbox_is_full():
    bench = Bench()
    node = bench.node(out=[bench.ring()])
    node.max_parked = 1
    emit = node.make_emit()
    in_a_thread(lambda: emit("out", data(1)))
    refused = in_a_thread(lambda: emit("out", data(2)))
    assert isinstance(refused, BackpressureError)
    bench.run()
    assert bench.seen == [1]


def test_who_waits_to_emit_waits_for_the_ring_that_blocks_what_is_parked():
    bench = Bench()
    full, free = bench.ring("full", 1), bench.ring("free")
    node = bench.node(a=[full], b=[free], c=[])
    assert node.blocked_by("a", data(1)) is None
    assert node.blocked_by("a", data(2)) is full
    node.park("a", [data(3)])
    assert node.blocked_by("b", data(4)) is full
    assert (payloads(full), payloads(free)) == ([1], [])


def test_who_waits_to_emit_where_nothing_is_connected_does_not_wait():
    bench = Bench()
    node = bench.node(out=[])
    assert node.blocked_by("out", data(1)) is None
    assert node.unrouted == 1


def test_a_refused_emit_of_a_node_that_is_not_there_counts_as_an_error():
    bench = Bench()
    node = bench.node(out=[bench.ring()])
    node.fail("on_message", BackpressureError("r", 1, "gone", "out", data(1)))
    assert (node.errors, node.parked, len(bench.errors)) == (1, None, 1)
    node.fail("on_message", BackpressureError("r", 1, "n", "out", data(2)))
    assert (node.errors, [item.payload for _, item in node.parked]) == (1, [2])


# ---- generators ----------------------------------------------------------------------------------------------


def doubled(item: Any) -> Any:
    yield item
    yield item * 2


def test_the_results_of_a_generator_inherit_the_trace_of_the_message_they_came_from():
    bench = Bench()
    ring = bench.ring(to=0)
    got: list[Any] = []
    bench.node("stream", doubled, out=[out := bench.ring("out")])
    bench.engine.nodes[1].fn, bench.engine.nodes[1].wants_message = got.append, True
    sent = data(3)
    ring.put(sent)
    bench.run()
    assert [message.payload for message in got] == [3, 6]
    assert {message.get_trace_id() for message in got} == {sent.get_trace_id()}
    assert out.taken == 2


def test_what_is_neither_data_nor_control_passes_a_generator_in_its_place():
    bench = Bench()
    error = Message(MessageType.ERROR, "odd")
    out, ring = bench.ring("out", 9), bench.ring(to=0)
    bench.node("stream", doubled, out=[out])
    ring.put(data(1))
    ring.put(error)
    ring.put(data(5))
    assert ring.turn.run() == 1
    while len(out.items) < 5:
        ring.turn.run()
    assert payloads(out) == [1, 2, "odd", 5, 10]
    assert out.items[2] is error


def test_a_generator_that_takes_messages_gets_a_raw_item_as_data():
    bench = Bench()
    got: list[Any] = []

    def look(message: Message[Any]) -> Any:
        got.append((message.type, message.payload))
        yield message.payload + 1

    out, ring = bench.ring("out"), bench.ring(to=0)
    node = bench.node("stream", look, out=[out])
    node.wants_message = True
    ring.put(1)
    ring.put(data(5))
    bench.run()
    assert got == [(DATA, 1), (DATA, 5)]
    assert bench.seen == [2, 6]


def test_a_generator_that_could_not_even_begin_has_no_results():
    bench = Bench()

    def refuse(item: Any) -> Any:
        raise RuntimeError(f"no {item}")

    ring = bench.ring(to=0)
    node = bench.node("stream", refuse, out=[bench.ring("out")])
    ring.put(1)
    bench.run()
    assert bench.errors == [(0, "on_message", "no 1")]
    assert (node.stream, bench.seen) == (None, [])


# ---- waking, bands -------------------------------------------------------------------------------------------


def test_a_knock_for_a_ring_that_was_let_go_meanwhile_is_ignored():
    bench = Bench()
    ring = bench.ring()
    in_a_thread(lambda: ring.put(1))
    assert list(bench.engine.knocks) == [ring]
    bench.engine.detach()
    assert bench.engine.run(10, 1) is False
    assert (bench.seen, payloads(ring)) == ([], [1])


def test_a_ring_changes_its_line_with_its_band_wherever_its_turn_is():
    bench = Bench()
    engine, ring = bench.engine, bench.ring()
    ring.put(1)
    assert [list(line) for line in engine.queue.lines] == [[], [], [ring.turn]]
    engine.set_band(ring, HIGH_BAND)
    assert [list(line) for line in engine.queue.lines] == [[], [ring.turn], []]
    bench.run()
    engine.set_band(ring, CONTROL_BAND)
    assert not len(engine.queue)
    ring.put(2)
    assert [list(line) for line in engine.queue.lines] == [[ring.turn], [], []]
    bench.run()
    assert bench.seen == [1, 2]


def test_a_ring_that_never_had_a_turn_gets_one_in_its_band():
    bench = Bench()
    empty, filled = bench.ring("empty"), bench.ring("filled", policy=drop())
    earlier = bench.engine.ring_type("filled", 4, Block())
    earlier.put(1)
    filled.take_over(earlier)
    for ring in (empty, filled):
        bench.engine.set_band(ring, HIGH_BAND)
    assert (empty.turn.queued, filled.turn.queued) == (False, True)
    bench.run()
    assert bench.seen == [1]


# --- a byte budget


def edges_of_one_budget(bench: Bench, limit: int, *policies: Any) -> tuple[Budget, list[LimitedRing]]:
    budget = bench.engine.budget_type(limit)
    for i, policy in enumerate(policies):
        ring = bench.engine.limited_ring_type(f"r{i}", 9, policy, budget=budget, size=len, clock=lambda: 0)
        bench.engine.attach(ring, 1, "in", NORMAL_BAND)
        budget.rings.append(ring)
    return budget, budget.rings


@pytest.mark.req("V14", "V4")
@pytest.mark.parametrize("how", ["emit", "deliver", "send"])
@pytest.mark.parametrize("other", [Block(), drop()], ids=["block", "drop"])
def test_an_emission_to_several_edges_needs_the_bytes_of_all_of_them_at_once(how, other):
    bench = Bench()
    budget, rings = edges_of_one_budget(bench, 10, other, Block())
    state = bench.node(out=rings)
    emit = state.make_emit()
    emit("out", Message(DATA, "four"))
    match how:
        case "emit":
            emit("out", Message(DATA, "2b"))
        case "deliver":
            state.deliver("out", ["2b"])
        case _:
            assert state.try_result("2b") is rings[isinstance(other, Drop)]
    assert [(ring.accepted(), ring.lost) for ring in rings] == [(1, None)] * 2
    assert (budget.used, len(state.parked or ())) == (8, int(how != "send"))
    bench.run()
    assert ([ring.accepted() for ring in rings], budget.used) == ([1 + (how != "send")] * 2, 0)


@pytest.mark.req("V14", "V4")
def test_an_emission_that_is_larger_on_all_edges_than_their_budget_goes_to_one_after_the_other():
    bench = Bench()
    budget, rings = edges_of_one_budget(bench, 5, Block(), Block())
    state = bench.node(out=rings)
    state.make_emit()("out", Message(DATA, "four"))
    assert ([ring.depth() for ring in rings], len(state.parked or ())) == ([1, 0], 1)
    bench.run()
    assert ([ring.taken for ring in rings], budget.used) == ([1, 1], 0)


@pytest.mark.req("V4")
def test_who_waits_for_a_ring_is_let_on_though_the_thread_that_filled_it_has_not_knocked_yet():
    bench = Bench()
    ring = bench.ring(capacity=1)
    state = bench.node(out=[ring])
    emit = state.make_emit()
    bench.engine.knock = lambda who: None  # not yet
    assert in_a_thread(lambda: ring.put("theirs")) is PutResult.OK
    emit("out", data("ours"))
    assert len(state.parked or ()) == 1
    bench.run()
    assert bench.seen == ["theirs", "ours"]
