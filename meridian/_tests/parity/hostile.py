"""Code of users that does what no code should: raises anywhere, comes back to what called it, lets go of what it runs in.

Run as a program, it plays each scene on the engine that ``MERIDIAN_ENGINE`` asks for and writes what came of it as JSON, so that
a test can compare the engines, and an interpreter in its strictest mode can watch.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from meridian import (
    Edge,
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    coalesce,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core.message import Scope
from meridian.core.policies import Coalesce, PutResult
from meridian.engine.select import engine_type
from meridian.observability import logging as log
from meridian.testing.clock import VirtualClock

SCENES: dict[str, Callable[[], Any]] = {}


def scene(play: Callable[[], Any]) -> Callable[[], Any]:
    """Register a scene; what it returns is what came of it."""
    SCENES[play.__name__.replace("_", " ")] = play
    return play


def tried(do: Callable[..., Any], *args: Any) -> Any:
    """Return what it returns, or what it raises, as text."""
    try:
        return str(do(*args))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def an_edge(capacity: int = 2, policy: Any = None, **limits: Any) -> Edge[Any]:
    out, into = Port("out", PortDirection.OUTPUT), Port("in", PortDirection.INPUT)
    return Edge("a", out, "b", into, capacity, default_policy=policy, **limits)


def books(edge: Edge[Any]) -> Any:
    """Return the counts of an edge, and what is on it."""
    ring = edge.ring()
    return [ring.depth(), ring.accepted(), ring.taken, ring.merged, ring.lost, len(ring.items), edge.capacity]


def run(*wires: Any, **config: Any) -> Any:
    """Run a graph to its end; return what the report says."""
    scheduler = Scheduler(**config)
    scheduler.register(graph("g", *wires))
    return run_to_end(scheduler)


def run_to_end(scheduler: Scheduler) -> Any:
    ended = tried(scheduler.run)
    report = scheduler.report()
    edges = [
        [edge.id, edge.accepted, edge.delivered, edge.depth, edge.merged, edge.lost] for edge in report.edges
    ]
    return [ended, report.reason, report.errors_total, edges]


class Interrupt(BaseException):
    """No failure of the user's code, but the end of a run."""


class Unspeakable(Exception):
    """An error that can't be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Venomous:
    """A payload that raises whatever is asked of it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __len__(self) -> int:
        raise RuntimeError("len")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Dying:
    """A payload that does something when it goes away."""

    def __init__(self, last_act: Callable[[], Any]) -> None:
        self.last_act = last_act

    def __del__(self) -> None:
        self.last_act()


# ---- handlers --------------------------------------------------------------------------------------------------------


@scene
def a_handler_raises_what_cannot_be_shown() -> Any:
    @node
    def handle(x: int) -> int:
        raise Unspeakable

    return run(source(range(3)) >> handle >> sink(lambda x: None, name="end"))


@scene
def a_handler_interrupts() -> Any:
    seen = []

    @node
    def handle(x: int) -> int:
        seen.append(x)
        if x == 2:
            raise Interrupt("now")
        return x

    return [
        run(
            source(range(9)) >> via(capacity=1) >> handle >> via(capacity=1) >> sink(seen.append, name="end")
        ),
        seen,
    ]


@scene
def payloads_raise_whatever_is_asked_of_them() -> Any:
    seen = []

    @node
    def handle(x: Any) -> Any:
        seen.append(1)
        return x

    def passes(x: Any, emit: Any) -> None:
        emit(x)

    items = [Venomous() for _ in range(5)]
    wires = (
        source(items)
        >> handle
        >> via(capacity=2, policy=latest())
        >> node(passes)
        >> sink(lambda x: seen.append(2), name="end")
    )
    # No time passes, so the slices end by what they handled, and as much is replaced however fast the machine is.
    return [run(wires, clock=VirtualClock()), sorted(set(seen))]


@scene
def a_handler_puts_on_its_own_input_and_output() -> Any:
    seen: list[int] = []

    @node
    def handle(x: int) -> int:
        if x < 3:
            seen.append(made.edges[0].try_put(x + 10).value)
            seen.append(made.edges[1].try_put(x + 100).value)
        return x

    made = graph(
        "g", source(range(4)) >> via(capacity=2) >> handle >> via(capacity=2) >> sink(seen.append, name="end")
    )
    scheduler = Scheduler()
    scheduler.register(made)
    return [run_to_end(scheduler), seen]


@scene
def a_handler_empties_the_edges_around_it() -> Any:
    got = []

    @node
    def handle(x: int) -> int:
        got.append([edge.try_get() for edge in made.edges])
        return x

    made = graph(
        "g",
        source(range(6)) >> via(capacity=3) >> handle >> via(capacity=3) >> sink(lambda x: None, name="end"),
    )
    scheduler = Scheduler()
    scheduler.register(made)
    return [run_to_end(scheduler), got]


@scene
def a_handler_shrinks_and_swaps_its_edges() -> Any:
    seen: list[int] = []

    @node
    def handle(x: int) -> int:
        for edge in made.edges:
            edge.capacity = 1 + x % 3
        made.edges[1].default_policy = drop() if x % 2 else None
        return x

    made = graph(
        "g",
        source(range(20)) >> via(capacity=4) >> handle >> via(capacity=4) >> sink(seen.append, name="end"),
    )
    scheduler = Scheduler()
    scheduler.register(made)
    return [run_to_end(scheduler), seen]


@scene
def a_handler_runs_its_own_scheduler_again() -> Any:
    told: list[Any] = []

    @node
    def handle(x: int) -> int:
        told.append(tried(scheduler.run))
        return x

    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(2)) >> handle >> sink(lambda x: None, name="end")))
    return [run_to_end(scheduler), told]


@scene
def a_handler_runs_another_scheduler_in_a_thread() -> Any:
    told: list[Any] = []

    def nested() -> None:
        told.append(run(source(range(5)) >> node(lambda x: x + 1) >> sink(told.append, name="end")))

    @node
    def handle(x: int) -> int:
        thread = threading.Thread(target=nested)
        thread.start()
        thread.join()
        return x

    return [run(source(range(2)) >> handle >> sink(lambda x: None, name="end")), told]


@scene
def a_handler_lets_go_of_all_that_holds_it() -> Any:
    held: dict[str, Any] = {}
    seen: list[int] = []

    @node
    def handle(x: int) -> int:
        held.clear()
        gc.collect()
        return x

    held["graph"] = graph("g", source(range(5)) >> handle >> sink(seen.append, name="end"))
    held["scheduler"] = Scheduler()
    held["scheduler"].register(held["graph"])
    del handle
    held["scheduler"].run()
    return seen


@scene
def a_handler_runs_the_engine_within_a_slice() -> Any:
    told: list[str] = []
    engine = engine_type()(Scope(), lambda: 0)
    ring = engine.ring_type("r", 4, drop())
    engine.add_node(1, "n", "map", lambda x: told.append(tried(engine.run, 10, 1)), {})
    engine.attach(ring, 1, "in", 2)
    ring.put(1)
    ring.put(2)
    return [tried(engine.run, 10, 1 << 60), told, ring.taken]


@scene
def a_handler_detaches_its_own_ring() -> Any:
    told: list[Any] = []

    def handle(x: int) -> None:
        told.append(x)
        engine.detach()

    engine = engine_type()(Scope(), lambda: 0)
    ring = engine.ring_type("r", 8, drop())
    engine.add_node(1, "n", "map", handle, {})
    engine.attach(ring, 1, "in", 2)
    for n in range(4):
        ring.put(n)
    return [tried(engine.run, 10, 1 << 60), told, ring.depth()]


@scene
def a_step_is_run_by_its_own_handler() -> Any:
    told: list[Any] = []

    def handle(x: int) -> None:
        told.append(x)
        if len(told) < 50 and ring.depth():
            told.append(turn.run())

    engine = engine_type()(Scope(), lambda: 0)
    ring = engine.ring_type("r", 64, drop())
    engine.add_node(1, "n", "map", handle, {})
    engine.attach(ring, 1, "in", 2)
    ring.put(0)
    turn = ring.turn
    assert turn is not None
    for n in range(1, 6):
        ring.put(n)
    return [tried(engine.run, 100, 1 << 60), told]


@scene
def an_emit_is_kept_and_used_after_the_run() -> Any:
    kept: list[Any] = []

    def handle(x: int, emit: Any) -> None:
        kept.append(emit)
        emit(x)

    seen: list[int] = []
    ended = run(source(range(2)) >> node(handle) >> sink(seen.append, name="end"))
    return [ended, seen, [tried(emit, 9) for emit in kept], seen]


# ---- sources and edges -----------------------------------------------------------------------------------------------


@scene
def a_source_overfills_the_edge_that_it_feeds() -> Any:
    seen: list[int] = []

    def items() -> Iterator[int]:
        for n in range(6):
            made.edges[0].try_put(100 + n)
            yield n

    made = graph("g", source(items) >> via(capacity=2) >> sink(seen.append, name="end"))
    scheduler = Scheduler()
    scheduler.register(made)
    return [run_to_end(scheduler), seen]


@scene
def a_source_is_pulled_from_within_itself() -> Any:
    seen: list[int] = []

    class Items:
        n = 0

        def __iter__(self) -> Items:
            return self

        def __next__(self) -> int:
            self.n += 1
            if self.n == 3:
                return next(self)
            if self.n > 6:
                raise KeyError("end")
            return self.n

    return [run(source(Items()) >> sink(seen.append, name="end")), seen]


@scene
def what_is_replaced_puts_on_the_edge_as_it_dies() -> Any:
    edge = an_edge(2)
    acts: list[Any] = []

    def last_act() -> None:
        if len(acts) < 5:
            acts.append(tried(edge.try_put, f"from the dead {len(acts)}"))

    for n in range(4):
        edge.try_put(Dying(last_act))
        del n
    return [books(edge), acts]


@scene
def what_is_dropped_takes_from_the_edge_as_it_dies() -> Any:
    edge = an_edge(1, drop())
    got: list[Any] = []
    edge.try_put("first")
    edge.try_put(Dying(lambda: got.append(edge.try_get())))
    return [books(edge), got]


@scene
def what_expires_lets_go_of_the_edge_as_it_dies() -> Any:
    held = {"edge": an_edge(2, max_age_s=0.0)}
    held["edge"].try_put(Dying(held.clear))
    ring = held["edge"].ring()
    took = tried(held["edge"].try_get)
    return [took, held, ring.depth(), ring.lost]


@scene
def what_is_merged_away_changes_the_edge_as_it_dies() -> Any:
    edge = an_edge(1, coalesce(lambda old, new: new))
    acts: list[str] = []

    def last_act() -> None:
        edge.capacity = 3
        acts.append(tried(edge.try_put, "late"))

    edge.try_put(Dying(last_act))
    edge.try_put("second")
    return [books(edge), acts]


@scene
def a_payload_raises_as_it_dies() -> Any:
    raised: list[str] = []
    kept, sys.unraisablehook = sys.unraisablehook, lambda args: raised.append(str(args.exc_value))

    def last_act() -> None:
        raise RuntimeError("last words")

    try:
        edge = an_edge(1)
        for _ in range(3):
            edge.try_put(Dying(last_act))
        edge.try_get()
        return [books(edge), raised]
    finally:
        sys.unraisablehook = kept


# ---- coalesce functions, policies, sizes -----------------------------------------------------------------------------


@scene
def a_merge_does_what_it_must_not() -> Any:
    told: list[Any] = []
    acts: dict[str, Callable[[], Any]] = {
        "put": lambda: edge.try_put(9),
        "get": lambda: edge.try_get(),
        "capacity": lambda: setattr(edge, "capacity", 5),
        "policy": lambda: setattr(edge, "default_policy", drop()),
        "depth": lambda: edge.depth(),
        "collect": lambda: gc.collect() and None,
        "interrupt": lambda: (_ for _ in ()).throw(Interrupt("merge")),
        "unspeakable": lambda: (_ for _ in ()).throw(Unspeakable()),
    }
    for name, act in acts.items():

        def merge(old: Any, new: Any, name: str = name, act: Any = act) -> Any:
            told.append(tried(act) if name not in ("interrupt", "unspeakable") else act())
            return old + new

        edge = an_edge(1, coalesce(merge))
        edge.try_put(1)
        told.append([name, tried(edge.try_put, 2), tried(edge.try_put, 3), books(edge)])
    return told


@scene
def a_policy_does_what_it_must_not() -> Any:
    told: list[Any] = []
    acts: dict[str, Callable[[], Any]] = {
        "put": lambda: edge.try_put(9),
        "get": lambda: edge.try_get(),
        "capacity": lambda: setattr(edge, "capacity", 0),
        "policy": lambda: setattr(edge, "default_policy", drop()),
        "is full": lambda: edge.is_full(),
        "collect": lambda: gc.collect() and None,
    }
    for name, act in acts.items():

        class Own:
            def on_enqueue(self, capacity: int, size: int, item: Any, act: Any = act) -> PutResult:
                told.append([capacity, size, tried(act)])
                return PutResult.OK if size < capacity else PutResult.REPLACED

        edge = an_edge(2, Own())
        told.append([name, [tried(edge.try_put, n) for n in range(4)], books(edge)])
    return told


@scene
def a_policy_lets_go_of_the_edge() -> Any:
    held: dict[str, Any] = {}

    class Own:
        def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
            held.clear()
            gc.collect()
            return PutResult.OK

    def merge(old: Any, new: Any) -> Any:
        held.clear()
        gc.collect()
        return old + new

    answers = []
    for policy in (Own(), Coalesce(merge)):
        held["edge"] = an_edge(1, policy)
        answers += [tried(held["edge"].try_put, n) for n in (1, 2) if held]
    return [answers, held]


@scene
def policies_answer_nonsense_or_raise() -> Any:
    class Shy:
        def __repr__(self) -> str:
            raise ZeroDivisionError("shy")

    def raises(error: BaseException) -> Any:
        raise error

    answers: list[Callable[[], Any]] = [
        lambda: None, lambda: "OK", lambda: 0, Shy, lambda: PutResult.COALESCED, lambda: raises(Interrupt("policy")),
        lambda: raises(Unspeakable()), lambda: raises(StopIteration(1)),
    ]  # fmt: skip
    told = []
    for answer in answers:

        class Own:
            def on_enqueue(self, capacity: int, size: int, item: Any, answer: Any = answer) -> Any:
                return answer()

        edge = an_edge(1, Own())
        try:
            told.append(["put", str(edge.try_put(1))])
        except BaseException as error:
            told.append([type(error).__name__, "" if isinstance(error, Unspeakable) else str(error)])
        told.append(books(edge))
        told.append(
            run(source(range(3)) >> via(capacity=1, policy=Own()) >> sink(lambda x: None, name="end"))
        )
    return told


@scene
def a_size_function_does_what_it_must_not() -> Any:
    told: list[Any] = []
    acts: dict[str, Callable[[], Any]] = {
        "raise": lambda: 1 // 0,
        "interrupt": lambda: (_ for _ in ()).throw(Interrupt("size")),
        "depth": lambda: edge.depth(),
        "collect": lambda: gc.collect(),
        "text": lambda: "1",
        "float": lambda: 1.0,
        "negative": lambda: -1,
        "huge": lambda: 1 << 80,
        "true": lambda: True,
    }
    for name, act in acts.items():

        def size(payload: Any, name: str = name, act: Any = act) -> Any:
            answer = act()
            return answer if name in ("text", "float", "negative", "huge", "true") else 1

        edge = an_edge(2, max_bytes=10, size=size)
        told.append([name, [tried(edge.try_put, n) for n in range(3)], books(edge)])
    return told


@scene
def a_size_function_shrinks_and_lets_go_in_a_run() -> Any:
    held: dict[str, Any] = {}
    seen: list[int] = []

    def size(payload: Any) -> int:
        if held and payload == 3:
            held["graph"].edges[0].capacity = 1
            held.clear()
            gc.collect()
        return 1

    held["graph"] = graph(
        "g", source(range(8)) >> via(capacity=4, max_bytes=4) >> sink(seen.append, name="end")
    )
    held["graph"].edges[0].size = size
    scheduler = Scheduler()
    scheduler.register(held["graph"])
    return [run_to_end(scheduler), seen]


# ---- nodes -----------------------------------------------------------------------------------------------------------


@scene
def hooks_interrupt_and_raise() -> Any:
    told = []
    for hook in ("on_start", "on_message", "on_tick", "on_stop"):
        for error in (Unspeakable, Interrupt):

            class Rude(Node):
                pass

            def raises(*args: Any, error: Any = error) -> Any:
                raise error

            rude = Rude("rude", [Port("in", PortDirection.INPUT)], [])
            setattr(rude, hook, raises)
            scheduler = Scheduler()
            scheduler.register(graph("g", source(range(3)) >> rude))
            try:
                scheduler.run()
                ended = "ended"
            except BaseException as raised:
                ended = type(raised).__name__
            told.append([hook, error.__name__, ended, scheduler.is_running()])
    return told


@scene
def a_message_of_a_class_of_ones_own_goes_its_way() -> Any:
    class Own(Message[Any]):
        pass

    seen: list[Any] = []
    own = [Own(MessageType.DATA, n) for n in range(3)]
    wires = (
        source(own)
        >> node(lambda x: x)
        >> via(capacity=1)
        >> sink(lambda x: seen.append([type(x).__name__, getattr(x, "payload", x)]), name="end")
    )
    return [run(wires), seen]


def main() -> None:
    log.replace_config(log.LogConfig(level="ERROR", stream=io.StringIO()))
    assert engine_type().__name__ == f"{sys.argv[1].capitalize()}Engine"
    for name, play in SCENES.items():
        print(json.dumps([name, tried(lambda play=play: json.dumps(play(), default=repr))]), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
