"""Run a graph on a virtual clock, with a schedule that is drawn from a seed, and with faults.

The graph runs on the engine and in the runtime that it would run in anyway. What differs: time is virtual
(`meridian.testing.clock`), the next turn among those of one band is drawn from the seed instead of first in, first out,
and so are trace ids. Nothing else is random, so equal seeds do equal things.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import random
import threading
import types
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from meridian.core.errors import ConfigError
from meridian.core.function import FnNode, SourceNode
from meridian.core.node import Node
from meridian.core.policies import Block
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.engine.node import NodeState
from meridian.runtime.observe import Observer
from meridian.runtime.run import Run
from meridian.testing.clock import DeadlockError, VirtualClock, VirtualLoop, where
from meridian.testing.faults import CancelWait, Fail, Fault, Full, Pause, Slow

if TYPE_CHECKING:
    from meridian.engine.ready import Turn
    from meridian.engine.ring import Ring
    from meridian.runtime.report import RunReport

Runnable: TypeAlias = Subgraph | Node | Scheduler | Callable[[], Subgraph | Node | Scheduler]
"""A graph, a single node, a scheduler with graphs, or a function that makes one of them."""

SUSPENDED = 16
"""Why a node is held: a `Pause`. The runtime's own reasons are smaller bits."""


class Step(NamedTuple):
    """One thing that happened.

    Attributes:
        at_ns: When, in nanoseconds since the simulation began.
        node: Whose time it took.
        what: Id of the edge it served (with `` control`` behind it, that edge's CONTROL lane), or ``source``, ``tick``,
            ``flush`` (what was parked is delivered), ``done`` (an asynchronous call has ended), ``room`` (a wait for
            room has ended), or the name of a fault.
        handled: Messages handled.
    """

    at_ns: int
    node: str
    what: str
    handled: int

    def __str__(self) -> str:
        return f"{self.at_ns / 1e9:12.6f} s  {self.node:<20} {self.what} {self.handled}"


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulated run did.

    Attributes:
        seed: What its schedule was drawn from.
        report: What any run reports.
        elapsed_s: Virtual seconds from beginning to end.
        trace: What happened, in order. Names and counts, no payloads.
        trace_digest: A short text that is equal for equal traces.
        hits: How often each fault struck. One that never did tested nothing.
    """

    seed: int
    report: RunReport
    elapsed_s: float
    trace: tuple[Step, ...] = field(repr=False)
    trace_digest: str
    hits: dict[Fault, int]

    def timeline(self, last: int | None = None) -> str:
        """Return the trace as text, one line per step; only the ``last`` so many if given."""
        return "\n".join(map(str, self.trace if last is None else self.trace[-last:]))


def simulate(
    graph: Runnable,
    *,
    seed: int = 0,
    config: SchedulerConfig | None = None,
    faults: Iterable[Fault] = (),
    until_s: float | None = None,
    shuffle: bool = True,
) -> Simulation:
    """Run a graph in virtual time and say what happened.

    Args:
        graph: What to run. A function is called first, so that each simulation gets a graph of its own; a graph object
            keeps on its edges what a run left there, and so does its count.
        seed: Equal seeds give equal runs. It decides which turn of a band comes next, and trace ids.
        config: As for a `Scheduler`; a scheduler brings its own.
        faults: What is to go wrong.
        until_s: Shut down after so many virtual seconds, if the run hasn't ended by itself. Given this, graphs of tickers
            without a declared end run until then.
        shuffle: Draw the order; otherwise turns are first in, first out, as in production.

    Raises:
        ConfigError: a fault names a node or an edge that isn't there; the text lists those that are.
        DeadlockError: everything waits for something that can't happen any more; names nodes and edges.
        GraphError, NodeError: as `Scheduler.run`. Every error that leaves a simulation carries a note with its seed.

    Within a running event loop, where no other can run, the simulation gets a thread of its own.
    """
    plan = tuple(faults)

    def run() -> Simulation:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(
                simulate_async(graph, seed=seed, config=config, faults=plan, until_s=until_s, shuffle=shuffle)
            )

    if asyncio._get_running_loop() is None:
        return run()
    result: list[Simulation] = []
    failed: list[BaseException] = []

    def target() -> None:
        try:
            result.append(run())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(target,), name="meridian-simulation"
    )
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


async def simulate_async(
    graph: Runnable,
    *,
    seed: int = 0,
    config: SchedulerConfig | None = None,
    faults: Iterable[Fault] = (),
    until_s: float | None = None,
    shuffle: bool = True,
) -> Simulation:
    """Do the same within a running `VirtualLoop`, next to coroutines of your own that feed, watch or stop the graph.

    Args, raises: as `simulate`.

    Raises:
        RuntimeError: the running loop lives in real time.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(
            "simulate_async() needs virtual time: run it with asyncio.Runner(loop_factory=VirtualLoop), "
            "or call simulate(), which brings its own loop"
        )
    scheduler = _scheduler(graph, config)
    world = _World(loop, tuple(faults), until_s)
    began_ns = loop.clock.monotonic_ns()
    with _borrowed(scheduler, world, seed, shuffle):
        stop = None if until_s is None else loop.call_later(until_s, scheduler.shutdown)
        try:
            report = await scheduler.run_async()
        except BaseException as error:
            error.add_note(f"simulated with seed={seed}, faults={list(world.faults)!r}")
            raise
        finally:
            if stop is not None:
                stop.cancel()
    if report is None:
        raise RuntimeError("this scheduler is running already")
    elapsed_s = (loop.clock.monotonic_ns() - began_ns) / 1e9
    return Simulation(seed, report, elapsed_s, tuple(world.trace), world.digest(), dict(world.hits))


def _scheduler(graph: Any, config: SchedulerConfig | None) -> Scheduler:
    if not isinstance(graph, (Subgraph, Node, Scheduler)) and callable(graph):
        graph = graph()
    if isinstance(graph, Scheduler):
        if config is not None:
            raise TypeError("simulate(scheduler, config=...): a scheduler has its own configuration")
        return graph
    if not isinstance(graph, (Subgraph, Node)):
        raise TypeError(
            f"simulate() takes a graph, a scheduler, or a function that makes one, got {type(graph).__name__}"
        )
    scheduler = Scheduler(config)
    scheduler.register(graph)
    return scheduler


@contextmanager
def _borrowed(scheduler: Scheduler, world: _World, seed: int, shuffle: bool) -> Generator[None]:
    """Let ``scheduler`` run in ``world``, and give it back as it was."""

    class Simulated(SimulatedRun):
        """Run in this world."""

        in_world = world

    before = scheduler._run_type, scheduler._shuffle, scheduler._clock, scheduler._random
    scheduler._run_type = Simulated
    # Two sources: who reads a trace id must not change the schedule by that.
    scheduler._shuffle = random.Random(f"order {seed}") if shuffle else _InOrder()
    scheduler._clock = world.loop.clock
    scheduler._random = random.Random(f"ids {seed}")
    try:
        yield
    finally:
        scheduler._run_type, scheduler._shuffle, scheduler._clock, scheduler._random = before


class _InOrder(random.Random):
    """Always draws the first."""

    def randrange(self, *args: Any, **kwargs: Any) -> int:
        return 0


class _World:
    """What one simulation keeps: time, faults, what happened.

    Attributes:
        loop: Its event loop.
        faults: What is to go wrong.
        until_s: When it is shut down, or ``None``.
        trace: What happened so far.
        hits: How often each fault struck.
        calls: Calls of each node so far.
    """

    def __init__(self, loop: VirtualLoop, faults: tuple[Fault, ...], until_s: float | None) -> None:
        self.loop = loop
        self.clock: VirtualClock = loop.clock
        self.faults = faults
        self.until_s = until_s
        self.trace: list[Step] = []
        self.hits: dict[Fault, int] = dict.fromkeys(faults, 0)
        self.calls: dict[str, int] = {}
        self._began_ns = self.clock.monotonic_ns()

    def saw(self, node: str, what: str, handled: int) -> None:
        """Note what happened."""
        self.trace.append(Step(self.clock.monotonic_ns() - self._began_ns, node, what, handled))

    def digest(self) -> str:
        """Return a short text that is equal for equal traces."""
        made = hashlib.sha256()
        for step in self.trace:
            made.update(repr(tuple(step)).encode())
        return made.hexdigest()[:32]

    def strike(self, fault: Fault, node: str) -> None:
        """Note that ``fault`` struck."""
        self.hits[fault] += 1
        self.saw(node, type(fault).__name__, 0)

    def of_node(self, node: str) -> list[Slow | Fail | CancelWait]:
        """Return the faults of the calls of ``node``."""
        return [
            fault
            for fault in self.faults
            if isinstance(fault, (Slow, Fail, CancelWait)) and fault.node == node
        ]

    def begin(self, node: str) -> tuple[int, float]:
        """Count a call of ``node``; return its number, and how much longer it takes.

        Raises:
            Exception: it is to fail.
        """
        call = self.calls[node] = self.calls.get(node, 0) + 1
        delay = 0.0
        failing: Fail | None = None
        for fault in self.of_node(node):
            if isinstance(fault, CancelWait) or not fault.hits(call):
                continue
            if isinstance(fault, Slow):
                delay += fault.seconds
                self.strike(fault, node)
            elif failing is None:
                failing = fault
        if failing is not None:
            self.strike(failing, node)
            raise failing.make(call)
        return call, delay

    def cancels(self, node: str, call: int) -> CancelWait | None:
        """Return the fault that cancels a wait of this call, if one does."""
        return next(
            (fault for fault in self.of_node(node) if isinstance(fault, CancelWait) and fault.hits(call)),
            None,
        )


class SimulatedObserver(Observer):
    """Writes the trace, and puts faults between the run and the nodes' code."""

    run: SimulatedRun

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        assert isinstance(run, SimulatedRun)
        self.world = run.in_world
        self.in_work: dict[int, tuple[str, Any]] = {}
        self._turn: Turn | None = None
        self._before = 0
        self._names: dict[int, tuple[Turn, str, Any]] = {}
        queue = run.engine.queue
        pick = queue.pick

        def noted() -> Turn:
            turn = self._turn = pick()
            self._before = self._total(turn)
            return turn

        queue.pick = noted  # type: ignore[method-assign]  # every turn of a shuffled engine passes here

    # ---- turns -----------------------------------------------------------------------------------------------

    def _choose_slice(self) -> None:
        super()._choose_slice()
        self._inner_slice = self.slice
        self.slice = self._traced_slice

    def _traced_slice(self, messages: int, nanoseconds: int) -> bool:
        clock = self.world.clock
        end = clock.monotonic_ns() + nanoseconds
        while True:
            more, turn = self._one_turn()
            if turn is not None:
                handled = max(self._total(turn) - self._before, 0)
                self.world.saw(self.run.assembly.state(turn.node).name, self._name(turn)[1], handled)
                messages -= handled or 1
            if not more or messages <= 0 or clock.monotonic_ns() >= end:
                return more

    def _one_turn(self) -> tuple[bool, Turn | None]:
        self._turn = None
        more = self._inner_slice(1, 0)
        return more, self._turn

    def _total(self, turn: Turn) -> int:
        """Return how much ``turn`` has handled so far."""
        counted = self._name(turn)[2]
        if counted is None:
            return turn.slices
        return int(counted.produced if isinstance(counted, NodeState) else counted.taken)

    def _name(self, turn: Turn) -> tuple[Turn, str, Any]:
        """Return the turn (kept, so that its id stays its own), what it does, and what counts its work."""
        known = self._names.get(id(turn))
        if known is not None:
            return known
        state = self.run.assembly.state(turn.node)
        what = "room"
        counted: Any = None
        if turn.ring is not None:
            what, counted = turn.ring.id, turn.ring
        elif turn is state.source_turn:
            what, counted = "source", state
        elif turn is state.tick_turn:
            what = "tick"
        elif turn is state.flush_turn:
            what = "flush"
        else:
            ring = next((ring for ring in self.run.assembly.all_rings() if ring.control_turn is turn), None)
            if ring is None:
                return turn, what, None  # made for one wait
            what, counted = f"{ring.id} control", ring
        self._names[id(turn)] = turn, what, counted
        return turn, what, counted

    # ---- calls -----------------------------------------------------------------------------------------------

    def handler(
        self, state: NodeState, handle: Callable[[str, Any], Any], is_async: bool
    ) -> Callable[[str, Any], Any]:
        handle = super().handler(state, handle, is_async)
        if not is_async:
            return self._plain(state.name, handle)

        async def called(port: str, message: Any) -> None:
            await self._call(state.name, lambda: handle(port, message))

        return called

    def function(self, state: NodeState, fn: Callable[..., Any]) -> Callable[..., Any]:
        fn = super().function(state, fn)
        name = state.name
        if state.kind == "stream":
            if not self.world.of_node(name):
                return fn

            def streamed(item: Any) -> Iterator[Any]:
                _, delay = self.world.begin(name)
                self.world.clock.advance(delay)
                yield from fn(item)

            return streamed
        node = self.run.plan.nodes[state.id].node
        if state.kind != "drive" or not isinstance(node, FnNode):
            return self._plain(name, fn)
        if node.function.is_stream:

            async def pulled(item: Any) -> AsyncIterator[Any]:
                async for result in self._pull(name, fn(item), one_call=True):
                    yield result

            return pulled

        async def called(item: Any) -> Any:
            return await self._call(name, lambda: fn(item))

        return called

    def tick(self, state: NodeState, hook: Callable[[], Any]) -> Callable[[], Any]:
        is_async = iscoroutinefunction(hook)
        hook = super().tick(state, hook)
        if self.run.plan.nodes[state.id].node.inputs:
            return hook  # its calls are messages
        if not is_async:
            return self._plain(state.name, hook)

        async def called() -> None:
            await self._call(state.name, hook)

        return called

    def items(self, state: NodeState, items: Iterator[Any]) -> Iterator[Any]:
        items = super().items(state, items)
        if not self.world.of_node(state.name):
            return items

        def slowed() -> Iterator[Any]:
            for item in items:
                _, delay = self.world.begin(state.name)
                self.world.clock.advance(delay)
                yield item

        return slowed()

    def async_items(self, state: NodeState, items: AsyncIterable[Any]) -> AsyncIterable[Any]:
        return self._pull(state.name, super().async_items(state, items), one_call=False)

    def _plain(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        if not self.world.of_node(name):
            return fn
        begin, advance = self.world.begin, self.world.clock.advance

        def called(*args: Any) -> Any:
            _, delay = begin(name)
            advance(delay)
            return fn(*args)

        return called

    async def _call(self, name: str, fn: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run one asynchronous call with its faults."""
        call, delay = self.world.begin(name)
        if delay:
            await self._working(name, asyncio.sleep(delay))
        work = fn()
        fault = self.world.cancels(name, call)
        try:
            return await self._working(name, work if fault is None else self._cancelled(work, fault))
        finally:
            self.world.saw(name, "done", 1)

    async def _pull(self, name: str, items: AsyncIterable[Any], *, one_call: bool) -> AsyncIterator[Any]:
        """Pull items with their faults; all of them are one call, or each is."""
        iterator = aiter(items)
        fault: CancelWait | None = None
        begun = False
        try:
            while True:
                if not (one_call and begun):
                    await self.run.unpaused(name)
                    call, delay = (
                        self.world.begin(name) if one_call else (self.world.calls.get(name, 0) + 1, 0.0)
                    )
                    if delay:
                        await self._working(name, asyncio.sleep(delay))
                    fault = self.world.cancels(name, call)
                    begun = True
                pull: Any = anext(iterator)
                if fault is not None:
                    pull, fault = self._cancelled(pull, fault), None
                try:
                    item = await self._working(
                        name, pull, iterator if hasattr(iterator, "ag_frame") else pull
                    )
                except StopAsyncIteration:
                    return
                if not one_call:
                    _, delay = self.world.begin(name)
                    if delay:
                        await self._working(name, asyncio.sleep(delay))
                    self.world.saw(name, "source", 1)
                yield item
        finally:
            if one_call:
                self.world.saw(name, "done", 1)
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    async def _working(self, name: str, work: Any, shown: Any = None) -> Any:
        """Await ``work``; ``shown``, or itself, is known as what the node is waiting in."""
        self.in_work[id(work)] = (name, work if shown is None else shown)
        try:
            return await work
        finally:
            del self.in_work[id(work)]

    @types.coroutine
    def _cancelled(self, work: Any, fault: CancelWait) -> Generator[Any, Any, Any]:
        """Await ``work``, cancelling what it waits for first."""
        steps = work.__await__()
        try:
            waits_for = next(steps)
        except StopIteration as end:
            return end.value
        self.world.strike(fault, fault.node)
        if waits_for is not None:
            waits_for.cancel()  # its waiter, the task that runs this, is told in the usual way
            return (yield from _go_on(steps, waits_for))
        try:
            waits_for = steps.throw(asyncio.CancelledError())  # it was a bare pass of the loop
        except StopIteration as end:
            return end.value
        return (yield from _go_on(steps, waits_for))


def _go_on(steps: Any, waits_for: Any) -> Generator[Any, Any, Any]:
    """Drive a coroutine that now waits for ``waits_for`` to its end."""
    while True:
        raised: BaseException | None = None
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001  # handed to the coroutine
            raised = error
        try:
            waits_for = next(steps) if raised is None else steps.throw(raised)
        except StopIteration as end:
            return end.value


class SimulatedRun(Run):
    """A run in a `_World`."""

    observer_type: ClassVar[type[Observer]] = SimulatedObserver
    in_world: ClassVar[_World]
    observer: SimulatedObserver

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusing: list[Ring] = []
        self._pauses: dict[str, list[Pause]] = {}
        self._resumed: dict[str, asyncio.Event] = {}
        self._check_faults()

    def known_rings(self) -> Iterator[Ring]:
        """Yield the rings of all edges that ever held something."""
        return (ring for _, ring in self.assembly.known_rings() if ring is not None)

    def _check_faults(self) -> None:
        nodes = dict(self.plan.nodes)
        for fault in self.in_world.faults:
            if isinstance(fault, Full):
                _known(fault, "edge", fault.edge_id, [planned.id for planned in self.plan.edges])
                continue
            _known(fault, "node", fault.node, nodes)
            if isinstance(fault, CancelWait) and not _may_wait(nodes[fault.node]):
                raise ConfigError(
                    f"{fault}: node {fault.node!r} isn't asynchronous, so there is no wait to cancel"
                )

    async def main(self) -> RunReport:
        deadlocks = self.in_world.loop.on_deadlock
        deadlocks.append(self._deadlocked)
        try:
            return await super().main()
        finally:
            deadlocks.remove(self._deadlocked)
            for ring in self._refusing:
                ring.set_capacity(self._capacity_of(ring))

    async def _start(self) -> None:
        self.assembly.complete()  # faults name nodes and edges, whether or not a message came there
        await super()._start()
        for fault in self.in_world.faults:
            if isinstance(fault, Full):
                self._at(fault.from_s, partial(self._refuse, fault))
            elif isinstance(fault, Pause):
                self._at(fault.from_s, partial(self._pause, fault))

    def _at(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in so many seconds; at once if that is now."""
        if seconds:
            self._timers.append(self.loop.call_later(seconds, do, context=self.context))
        else:
            do()

    # ---- full edges ------------------------------------------------------------------------------------------

    def _capacity_of(self, ring: Ring) -> int:
        return next(planned.edge.capacity for planned in self.plan.edges if planned.id == ring.id)

    def _refuse(self, fault: Full) -> None:
        ring = self.assembly.ring_of(fault.edge_id)
        assert ring is not None  # checked when the run was made
        ring.set_capacity(0 if _blocks(ring) else min(1, ring.capacity))
        self._refusing.append(ring)
        self.in_world.strike(fault, self.assembly.state(ring.node).name)
        self._at(fault.for_s, partial(self._accept, ring))

    def _accept(self, ring: Ring) -> None:
        self._refusing.remove(ring)
        if ring not in self._refusing:
            ring.set_capacity(self._capacity_of(ring))
        self.settle()

    # ---- paused nodes ----------------------------------------------------------------------------------------

    def _pause(self, fault: Pause) -> None:
        state = next(state for state in self.assembly.known_states() if state.name == fault.node)
        state.held |= SUSPENDED
        self._pauses.setdefault(fault.node, []).append(fault)
        self._resumed.setdefault(fault.node, asyncio.Event())
        self.in_world.strike(fault, fault.node)
        self._at(fault.for_s, partial(self._resume, fault, state))

    def _resume(self, fault: Pause, state: NodeState) -> None:
        pauses = self._pauses[fault.node]
        pauses.remove(fault)
        if pauses:
            return
        self._resumed.pop(fault.node).set()
        state.held &= ~SUSPENDED
        if not state.held:
            state.resume()
        self.settle()

    async def unpaused(self, node: str) -> None:
        """Wait while ``node`` is paused."""
        while (resumed := self._resumed.get(node)) is not None:
            await resumed.wait()

    # ---- the end ---------------------------------------------------------------------------------------------

    def check_end(self) -> None:
        if self._live and not self.done.done():
            if any(ring.waiters for ring in self._refusing):
                return  # whoever waits there goes on when the fault is over
            if any(state.held & SUSPENDED and state.deferred for state in self.assembly.known_states()):
                return
        super().check_end()

    def _finish(self, reason: str) -> None:
        if reason == "quiet" and self.in_world.until_s is not None:
            self._watch_idle()
            return
        super()._finish(reason)

    def _deadlocked(self) -> bool:
        """Nothing can happen any more, and the run hasn't ended: end it with an error that says who waits."""
        if self.done.done():
            return False
        waiting: list[str] = []
        seen: dict[tuple[str, str], int] = {}
        for name, work in self.observer.in_work.values():
            key = (name, where(work))
            seen[key] = seen.get(key, 0) + 1
        for (name, place), n in seen.items():
            waiting.append(f"node {name!r} waits in {place}" + (f", {n} times" if n > 1 else ""))
        for ring in self.assembly.all_rings():
            if ring.depth():
                full = " is full," if ring.room() <= 0 and _blocks(ring) else ""
                target = self.assembly.state(ring.node).name
                waiting.append(
                    f"edge {ring.id}{full} holds {ring.depth()} of {ring.capacity} for node {target!r}"
                )
        waiting += [
            f"node {state.name!r} has {len(state.parked)} parked messages, which wait for room"
            for state in self.assembly.known_states()
            if state.parked
        ]
        waiting += [f"inlet {inlet.name!r} is open" for inlet in self._inlets if not inlet.closed]
        self.done.set_exception(DeadlockError(waiting, self.loop.time()))
        return True


def _known(fault: Fault, kind: str, name: str, there: Iterable[str]) -> None:
    names = list(there)
    if name not in names:
        shown = ", ".join(map(repr, names)) or "none"
        raise ConfigError(f"{fault}: there is no {kind} {name!r}; the {kind}s: {shown}")


def _blocks(ring: Ring) -> bool:
    return isinstance(ring.policy, Block)


def _may_wait(node: Node) -> bool:
    if isinstance(node, FnNode):
        return node.function.is_async
    if isinstance(node, SourceNode):
        return isinstance(node.items, AsyncIterable) or callable(node.items)
    hooks = (node.on_message, node._handle_message) if node.inputs else (node.on_tick, node._handle_tick)
    return any(iscoroutinefunction(hook) for hook in hooks)
