"""Who runs next: shares, bounds, and what may overtake."""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian._tests.engine.conftest import python_only
from meridian.core.message import CONTROL, DATA, Message
from meridian.core.node import Node
from meridian.core.scheduler import PriorityBand, Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.engine.ready import ReadyQueue, Turn
from meridian.engine.select import engine_type

pytestmark = pytest.mark.req("V6")

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def picks(weights: tuple[int, int, int], n: int, random: Random | None = None) -> list[int]:
    kinds = engine_type()
    queue = kinds.queue_type(weights, random)
    for band in range(3):
        for _ in range(2):
            queue.lines[band].append(kinds.turn_type(0, band))
    made = []
    for _ in range(n):
        turn = queue.pick()
        made.append(turn.band)
        queue.lines[turn.band].append(turn)
    return made


@given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), st.booleans())
def test_under_permanent_load_each_band_gets_exactly_its_share(weights, shuffled):
    rounds = 7
    made = picks(weights, rounds * sum(weights), Random(1) if shuffled else None)
    assert Counter(made) == {band: rounds * weight for band, weight in enumerate(weights)}


@given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)))
def test_every_band_is_served_within_one_round(weights):
    made = picks(weights, 5 * sum(weights))
    for i in range(len(made) - sum(weights) + 1):
        assert set(made[i : i + sum(weights)]) == {0, 1, 2}


def histories(weights: tuple[int, int, int], depth: int) -> dict[int, int]:
    """Return how many slices of others each band waits for at most, over all arrivals: up to two turns of each band wait.

    The engine does without a choice where only the normal band has work.
    """
    worst = dict.fromkeys(range(3), 0)
    states = {((0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0))}
    for _ in range(depth):
        following = set()
        for (saved, passed, have, waits), *added in product(states, range(3), range(3), range(3)):
            now = [max(n, each) for n, each in zip(have, added, strict=True)]
            if not any(now):
                continue
            queue = ReadyQueue(weights)
            queue._saved[:], queue._passed_over[:] = saved, passed
            for band, n in enumerate(now):
                queue.lines[band].extend(Turn(0, band) for _ in range(n))
            picked = queue.pick().band if now[0] or now[1] else 2
            later = tuple(0 if band == picked or not now[band] else waits[band] + 1 for band in range(3))
            worst = {band: max(worst[band], later[band]) for band in range(3)}
            now[picked] -= 1
            following.add((tuple(queue._saved), tuple(queue._passed_over), tuple(now), later))
        states = following
    return worst


@pytest.mark.parametrize(("weights", "control"), [((4, 2, 1), 1), ((1, 1, 1), 2), ((2, 3, 1), 2)])
@python_only  # begins in the middle of a history; that both queues pick the same is shown in parity/
def test_whatever_comes_and_goes_control_waits_as_long_as_stated_and_nobody_starves(weights, control):
    worst = histories(weights, 11 if NIGHTLY else 7)
    assert worst[0] == control
    assert max(worst.values()) <= sum(weights)


class Log(Node):
    def __init__(self, name: str, ports: list[str]) -> None:
        super().__init__(name, Node.with_ports(name, ports, []).inputs)
        self.seen: list[tuple[str, Any, bool]] = []

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.seen.append((port, msg.payload, msg.type is CONTROL))


def loaded(capacity: int, batch: int, per_edge: int) -> tuple[Scheduler, Log]:
    log, made = Log("log", ["c", "h", "n"]), Subgraph("g")
    made.add_node(log)
    for port in "chn":
        made.add_node(Node.with_ports(f"from_{port}", [], ["out"]))
        made.connect((f"from_{port}", "out"), ("log", port), capacity)
    for edge in made.edges:
        for i in range(per_edge):
            edge.try_put(i)
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=batch, shutdown_timeout_s=0))
    scheduler.set_priority("from_c:out->log:c", PriorityBand.CONTROL)
    scheduler.set_priority("from_h:out->log:h", PriorityBand.HIGH)
    scheduler.register(made)
    return scheduler, log


def test_messages_of_full_edges_arrive_four_to_two_to_one():
    scheduler, log = loaded(1000, 1, 1000)
    scheduler.run()
    for rounds in (1, 10, 100):
        assert Counter(port for port, _, _ in log.seen[: 7 * rounds]) == {
            "c": 4 * rounds,
            "h": 2 * rounds,
            "n": rounds,
        }
    for port in "chn":
        assert [payload for each, payload, _ in log.seen if each == port] == list(range(1000))


def test_raw_items_of_a_control_edge_arrive_as_control_messages():
    scheduler, log = loaded(4, 8, 2)
    scheduler.run()
    assert {port for port, _, control in log.seen if control} == {"c"}


@pytest.mark.req("V7")
@pytest.mark.parametrize("batch", [1, 8, 64])
def test_a_control_message_overtakes_all_data_but_the_slice_in_hand(batch):
    log, made = Log("log", ["in"]), Subgraph("g")

    class Feeds(Node):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            self.emit("out", msg)

    ports = Node.with_ports("feeds", ["in"], ["out"])
    made.add_node(Feeds("feeds", ports.inputs, ports.outputs))
    made.add_node(Node.with_ports("from", [], ["out"]))
    made.add_node(log)
    made.connect(("from", "out"), ("feeds", "in"), 2000)
    made.connect(("feeds", "out"), ("log", "in"), 1000)
    for i in range(600):
        made.edges[0].try_put(i)
    marks = [300, 301, 302]

    def handle(port: str, msg: Message[Any]) -> None:
        log.seen.append((port, msg.payload, msg.type is CONTROL))
        if msg.payload in marks:
            assert made.edges[0].try_put(Message(CONTROL, ("mark", msg.payload))).name == "OK"

    log.on_message = handle  # type: ignore[method-assign]
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=batch, shutdown_timeout_s=0))
    scheduler.register(made)
    scheduler.run()
    at = {payload: i for i, (_, payload, _) in enumerate(log.seen)}
    for mark in marks:  # the slice in hand, one slice at either node, and its fellows
        assert at["mark", mark] - at[mark] <= 3 * batch + 3
    assert [payload for _, payload, control in log.seen if control] == [("mark", mark) for mark in marks]
    assert [payload for _, payload, control in log.seen if not control] == list(range(600))


@pytest.mark.req("V6")
def test_a_node_that_sends_control_to_itself_is_queued_once():
    made, seen = Subgraph("g"), []

    class Again(Node):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            seen.append(msg.payload)
            if msg.payload:
                for _ in range(2 if msg.payload % 2 else 1):
                    self.emit("out", Message(CONTROL, msg.payload - 1))

    ports = Node.with_ports("again", ["in"], ["out"])
    made.add_node(Again("again", ports.inputs, ports.outputs))
    made.connect(("again", "out"), ("again", "in"), 64)
    made.edges[0].try_put(Message(CONTROL, 8))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(made)
    scheduler.run()
    assert Counter(seen) == {8: 1, 7: 1, 6: 2, 5: 2, 4: 4, 3: 4, 2: 8, 1: 8, 0: 16}
    assert DATA.name == "DATA"


# ---- a turn that changes its band --------------------------------------------------------------------------------------


def queued(queue: ReadyQueue, band: int, n: int = 1) -> list[Turn]:
    made = [Turn(0, band) for _ in range(n)]
    for turn in made:
        turn.line = queue.lines[band]
        turn.line.append(turn)
        turn.queued = True
    return made


def test_a_turn_goes_on_behind_those_of_its_new_band_and_keeps_its_place_in_the_one_it_has():
    queue = ReadyQueue()
    (normal,), (first, second) = queued(queue, 2), queued(queue, 1, 2)
    queue.set_band(first, 1)
    assert list(queue.lines[1]) == [first, second]
    queue.set_band(normal, 1)
    assert [list(line) for line in queue.lines] == [[], [first, second, normal], []]
    assert (normal.band, normal.line) == (1, queue.lines[1])


@pytest.mark.req("V4")
def test_a_turn_that_is_not_in_a_line_goes_to_its_new_one_the_next_time_only():
    queue = ReadyQueue()
    waits_for_room, idle = Turn(0, 2), Turn(0, 2)
    waits_for_room.queued = True
    for turn in (waits_for_room, idle):
        turn.line = queue.lines[2]
        queue.set_band(turn, 0)
        assert (turn.band, turn.line) == (0, queue.lines[0])
    assert len(queue) == 0


def test_what_a_band_saved_that_is_left_empty_does_not_stay_as_a_debt_of_others():
    """NORMAL comes for one pick, time and again, and leaves by another band's door; then all three have work for long."""
    weights = (3, 5, 2)
    queue = ReadyQueue(weights)
    queued(queue, 0)
    queued(queue, 1)
    visitor = Turn(0, 1)
    visitor.line = queue.lines[1]

    def pick() -> int:
        turn = queue.pick()
        turn.queued = turn is not visitor
        if turn is not visitor:
            queue.lines[turn.band].append(turn)
        return turn.band

    for _ in range(300):
        for _ in range(4):
            pick()
        queue.set_band(visitor, 2)
        if not visitor.queued:
            visitor.queued = True
            visitor.line.append(visitor)
        pick()
        queue.set_band(visitor, 1)
    queued(queue, 2)
    if visitor.queued:
        visitor.line.remove(visitor)
    made = [pick() for _ in range(30 * sum(weights))]
    for n in range(1, len(made) + 1):
        for band, weight in enumerate(weights):
            assert abs(made[:n].count(band) - n * weight / sum(weights)) <= sum(weights)
