"""What points back to what holds it is found by the garbage collector: handlers, payloads, turns, parked messages."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from meridian import (
    Edge,
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian.core.message import Scope
from meridian.core.policies import Block, Coalesce, PutResult
from meridian.engine.select import engine_type

pytestmark = pytest.mark.req("N2.1")


class Canary:
    """Something whose end can be seen."""

    def __init__(self, **holds: Any) -> None:
        self.__dict__.update(holds)


def is_collected(make: Callable[[], Canary]) -> bool:
    """Say whether what ``make`` returns, and is held by nothing but itself, goes away."""
    gone = weakref.ref(make())
    gc.collect()
    return gone() is None


# ---- through graphs --------------------------------------------------------------------------------------------------


def ran(nodes: Any, **kept: Any) -> Scheduler:
    scheduler = Scheduler()
    scheduler.register(graph("g", nodes))
    scheduler.run()
    return scheduler


@pytest.mark.parametrize("style", ["map", "sink", "emit", "generator", "async", "source", "class"])
def test_a_handler_that_holds_its_scheduler_is_collected_after_a_run(style: str):
    def make() -> Canary:
        canary = Canary()

        def handle(x: int) -> int:
            canary.seen = x
            return x

        def emits(x: int, emit: Any) -> None:
            canary.seen = x
            emit(x)

        def generates(x: int) -> Any:
            canary.seen = x
            yield x

        async def later(x: int) -> int:
            return handle(x)

        class Handler(Node):
            def _handle_message(self, port: str, msg: Message[Any]) -> None:
                canary.seen = msg.payload

        def items() -> Any:
            yield handle(1)

        end = sink(lambda x: None, name="end")
        nodes = {
            "map": lambda: source([1]) >> node(handle) >> end,
            "sink": lambda: source([1]) >> sink(handle, name="x"),
            "emit": lambda: source([1]) >> node(emits) >> end,
            "generator": lambda: source([1]) >> node(generates) >> end,
            "async": lambda: source([1]) >> node(later) >> end,
            "source": lambda: source(items) >> end,
            "class": lambda: source([1]) >> Handler("h", [Port("in", PortDirection.INPUT)], []),
        }[style]()
        canary.scheduler = ran(nodes)
        assert canary.seen == 1
        return canary

    assert is_collected(make)


def test_a_payload_that_holds_the_edge_it_waits_on_is_collected():
    def make() -> Canary:
        out, into = Port("out", PortDirection.OUTPUT), Port("in", PortDirection.INPUT)
        edge: Edge[Any] = Edge("a", out, "b", into, 4)
        canary = Canary(edge=edge)
        edge.try_put(canary)
        edge.try_put(Message(MessageType.CONTROL, canary))
        return canary

    assert is_collected(make)


def test_a_parked_message_that_holds_the_scheduler_is_collected():
    def make() -> Canary:
        canary = Canary()

        class Burst(Node):
            def _handle_message(self, port: str, msg: Message[Any]) -> None:
                for _ in range(5):
                    self.emit("out", Message(MessageType.DATA, canary))
                scheduler.shutdown()

        class Never(Node):
            def _handle_message(self, port: str, msg: Message[Any]) -> None:
                raise AssertionError

        burst = Burst("burst", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])
        never = Never("never", [Port("in", PortDirection.INPUT)], [])
        canary.scheduler = scheduler = Scheduler()
        scheduler.register(graph("g", source([1]) >> burst >> via(capacity=1) >> never))
        scheduler.run()
        return canary

    assert is_collected(make)


# ---- through the engine's own parts ----------------------------------------------------------------------------------


class Parts:
    """An engine with a ring to a node that collects."""

    def __init__(self, canary: Canary, fn: Any = None, policy: Any = None, **limits: Any) -> None:
        kinds = engine_type()
        self.engine = kinds(Scope(), lambda: 0)
        if limits:
            budget = kinds.budget_type(9)
            self.ring = kinds.limited_ring_type(
                "r", 4, policy or Block(), max_bytes=9, budget=budget, **limits
            )
            budget.add(self.ring, 9)
        else:
            self.ring = kinds.ring_type("r", 4, policy or Block())
        self.node = self.engine.add_node(1, "n", "map", fn or (lambda x: None), {})
        self.engine.attach(self.ring, 1, "in", 2)
        canary.parts = self


class OwnPolicy:
    """A policy that holds something."""

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        return PutResult.OK


def holds(canary: Canary) -> Callable[..., Any]:
    return lambda *args: canary and 0


WAYS: dict[str, Callable[[Canary], Any]] = {
    "an item": lambda c: Parts(c).ring.put(c),
    "a control message": lambda c: Parts(c).ring.put(Message(MessageType.CONTROL, c)),
    "the handler of a compiled step": lambda c: (p := Parts(c, holds(c)), p.ring.put(1), p.engine.run(9, 1)),
    "the handler of a step that is due": lambda c: Parts(c, holds(c)).ring.put(1),
    "a coalesce function": lambda c: Parts(c, policy=Coalesce(holds(c))),
    "a size function": lambda c: Parts(c, size=holds(c), clock=lambda: 0),
    "a clock of a ring": lambda c: Parts(c, size=len, clock=holds(c)),
    "who is told of losses": lambda c: setattr(Parts(c).ring, "on_loss", holds(c)),
    "what checks data": lambda c: setattr(Parts(c).ring, "check", c),
    "what asks for a slice": lambda c: setattr(Parts(c).engine, "arm", holds(c)),
    "a clock of the engine": lambda c: setattr(Parts(c).engine, "clock", holds(c)),
    "a knock": lambda c: (p := Parts(c), p.engine.knocks.append(p.ring), p.engine.knocks.append(c)),
    "a ring that is waited for": lambda c: (p := Parts(c), p.ring.wait(waiter(p, c))),
    "a turn of its own": lambda c: (p := Parts(c), p.engine.ready(waiter(p, c))),
    "a turn that nobody queued": lambda c: setattr(c, "turn", waiter(Parts(c), c)),
    "the lane of a ring": lambda c: (p := Parts(c), setattr(c, "lane", p.ring.items), p.ring.put(c)),
    "the line of a queue": lambda c: (p := Parts(c), setattr(c, "line", p.engine.queue.lines), p.ring.put(c)),
    "a source": lambda c: (p := Parts(c), p.engine.start_source(p.node, map(holds(c), [1, 2]))),
    "an attribute of the queue": lambda c: setattr(Parts(c).engine.queue, "pick", holds(c)),
}


def waiter(parts: Parts, canary: Canary) -> Any:
    turn = parts.engine.turn(1, 2)
    turn.run = holds(canary)
    return turn


@pytest.mark.parametrize("way", WAYS)
def test_an_engine_that_is_held_by_what_it_holds_is_collected(way: str):
    def make() -> Canary:
        canary = Canary()
        WAYS[way](canary)
        return canary

    assert is_collected(make)


def test_a_policy_of_ones_own_that_holds_its_ring_is_collected():
    def make() -> Canary:
        canary: Any = Canary()
        canary.on_enqueue = holds(canary)
        Parts(canary, policy=OwnPolicy())
        canary.parts.ring.set_policy(canary)
        return canary  # type: ignore[no-any-return]

    assert is_collected(make)


# ---- what the collector is shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["rust"], indirect=True)
def test_the_collector_is_shown_all_that_native_parts_hold():
    canary = Canary()
    parts = Parts(canary, fn := holds(canary), size=(size := holds(canary)), clock=(clock := holds(canary)))
    ring, engine = parts.ring, parts.engine
    item, told, check = Canary(), holds(canary), Canary()
    ring.put(item)
    ring.on_loss, ring.check = told, check
    turn = ring.turn
    shown = {
        "ring": (
            ring,
            [item, ring.id, ring.policy, check, "in", turn, engine, told, size, clock, ring.budget],
        ),
        "turn": (turn, [ring, turn.run, engine.queue]),
        "step": (turn.run, [engine, parts.node, turn, ring, fn, engine.scope, "in", "", "n"]),
        "queue": (engine.queue, [turn]),
        "lane": (lane := ring.items, [ring]),
        "budget": (ring.budget, [ring.budget.rings]),
        "engine": (
            engine,
            [engine.clock, engine.queue, engine.arm, engine.waited, engine.knocks, engine.scope],
        ),
    }
    for name, (holder, held) in shown.items():
        assert gc.is_tracked(holder), name
        referents = gc.get_referents(holder)
        for each in held:
            assert any(each is referent for referent in referents), (name, type(each))
    assert len(lane) == 1
