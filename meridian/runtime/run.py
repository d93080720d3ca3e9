"""One run of a plan: start, slices, end, drain, stop.

The engine does the work in slices; this module decides when a slice runs, and when there is nothing left to do. A slice
is one callback of the event loop, bounded in messages and in time, so that other tasks of the loop wait about a tenth of
a millisecond for it. Nothing is scheduled while nothing is due.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from meridian.core.errors import ClosedError, NodeError
from meridian.core.function import FnNode, Inlet, SourceNode
from meridian.core.message import ERROR, Message, Scope, current_scope, with_header
from meridian.core.node import Node, ports_of
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import PortDirection
from meridian.engine.step import BUSY, To
from meridian.observability import context as observability
from meridian.observability import traceparent
from meridian.observability.events import get_events
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error
from meridian.runtime.assembly import Assembly
from meridian.runtime.attached import Attached, Feeding, TracedFeeding
from meridian.runtime.counts import Counts, NodeCounts, count
from meridian.runtime.facts import Facts, new_run_id
from meridian.runtime.hooks import drains, hook_of, native_form, ticks
from meridian.runtime.lifecycle import Hook, LifeCycle
from meridian.runtime.observe import Observer
from meridian.runtime.report import ErrorReport, RunReport, report_of
from meridian.runtime.threads import OtherThreads
from meridian.runtime.workers import (
    BatchWorker,
    PoolWorker,
    SourceWorker,
    Worker,
    begun,
    first_step,
    is_failure,
)

if TYPE_CHECKING:
    from random import Random

    from meridian.core.clock import Clock
    from meridian.core.scheduler import SchedulerConfig
    from meridian.engine.kernel import PythonEngine
    from meridian.engine.node import NodeState
    from meridian.engine.ready import Turn
    from meridian.engine.ring import Ring
    from meridian.engine.select import EngineChoice
    from meridian.introspect.loop import Probe
    from meridian.introspect.taken import Fixed
    from meridian.redaction import ErrorDescription
    from meridian.runtime.cpu import CpuTopology
    from meridian.runtime.plan import Plan

SLICE_MESSAGES = 512
SLICE_NS = 200_000
"""Bounds of one callback: about so many messages, and no new turn after so many nanoseconds."""

FAILED = 4
"""Why a node is held for good: it could not be started."""

_OUT = PortDirection.OUTPUT


class Run:
    """One run of ``plan`` in the running event loop.

    Args:
        plan: What to run.
        config: How.
        engine: Makes the engine: ``engine(scope, clock, weights=, max_batch=, random=)``.
        clock: Where time comes from.
        choice: Which engine that is, and why, for the report.
        bands: Band of each edge that isn't NORMAL, by id.
        random: Draws trace ids.
        shuffle: Draws the order of turns within a band; first in, first out without it.

    `meridian.testing` derives from it: what a simulation needs costs a run nothing.
    """

    observer_type: ClassVar[type[Observer]] = Observer

    def __init__(
        self,
        plan: Plan,
        config: SchedulerConfig,
        engine: Any,
        clock: Clock,
        *,
        choice: EngineChoice,
        bands: dict[str, int],
        random: Random | None = None,
        shuffle: Random | None = None,
    ) -> None:
        self.id = new_run_id()
        self.plan = plan
        self.config = config
        self.clock = clock
        self.choice = choice
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[str] = self.loop.create_future()
        self.scope = Scope(clock.time(), random)
        self.context = contextvars.copy_context()
        self.context.run(current_scope.set, self.scope)
        self.engine: PythonEngine = engine(
            self.scope,
            clock.monotonic_ns,
            weights=config.fairness_ratio,
            max_batch=config.max_batch_per_node,
            random=shuffle,
        )
        self.engine.failures = (Exception, asyncio.CancelledError)
        self.engine.arm = self._arm
        self.engine.arm_from_thread = self._arm_from_thread
        self.engine.on_error = self._on_error
        self.engine.on_invalid = self._on_invalid
        self.engine.on_finished = self._on_source_finished
        self.engine.on_slow = self._on_slow
        self.engine.declares = self._declares
        self.in_flight = 0
        self.open_sources = 0
        self.waiting_sources = 0
        self._ends_when_idle = config.idle_timeout_s is not None
        self.stopping = False
        self.failure: NodeError | None = None
        self.life = LifeCycle()
        self.errors: deque[ErrorReport] = deque(maxlen=64)
        self.errors_total = 0
        self.last_errors: dict[str, ErrorReport] = {}
        self.reason: str | None = None
        self._workers: list[Worker | PoolWorker | SourceWorker] = []
        self._inlets: list[Inlet] = []
        self._waiting_for_room: set[asyncio.Future[None]] = set()
        self._tickers: list[tuple[Node, Turn]] = []
        self._asked: dict[int, asyncio.TimerHandle | None] = {}
        """Nodes that asked for a tick, by index, with the timer of the next one."""
        self._to_drain: deque[int] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._quiet_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._armed = False
        self._live = False
        self._stop_began = False
        # Set by the scheduler, which knows when it began to build, and has looked at the machine.
        self.built_ns = 0
        self.cpu: CpuTopology | None = None
        self.probe: Probe | None = None  # put there by the first look, as is what is fixed of the run
        self.fixed: Fixed | None = None
        self.looked: tuple[NodeCounts, ...] | None = None
        """What the last look counted, whoever looked."""
        self.slices = 0
        self._others = OtherThreads()
        self._begin_ns = clock.monotonic_ns()
        self._end_ns: int | None = None
        self._final: Counts | None = None
        self.events = get_events().recorder(self.id, clock.monotonic_ns, clock.time)
        self._losses: deque[tuple[str, str, BaseException | None]] = deque(maxlen=256)
        self._told_losses: dict[tuple[str, str], int] = {}
        """How many losses of each edge and cause were told."""
        self._generation = observability.generation()
        self.observer = self.observer_type(self)
        self._has_source = any(isinstance(node, SourceNode) for _, node in plan.nodes)
        self.assembly = Assembly(plan, self.engine, clock.monotonic_ns, bands, self._bind, self._on_loss)

    # ---- building --------------------------------------------------------------------------------------------

    def _bind(self, index: int, node: Node, state: NodeState) -> None:
        """Connect the node's code with the engine."""
        if isinstance(node, FnNode):
            function = node.function
            fn: Any = self.observer.function(state, function.fn)
            if function.takes_emit:
                state.put = state.make_put()
            if function.is_async:
                worker: BatchWorker | PoolWorker
                if function.concurrency > 1:
                    worker = PoolWorker(self, state, fn, function.concurrency, function.ordered)
                else:
                    worker = BatchWorker(self, state, fn, stream=function.is_stream)
                self._workers.append(worker)
                fn = worker.drive
            state.fn = fn
            return
        if isinstance(node, SourceNode):
            return
        form = native_form(node)  # before the node gets an ``emit`` of its own
        attached = Attached(self, state)
        node._attached = cast(
            "Any", attached
        )  # its emit is a function kept in a slot, which pyright takes for a method
        if type(node).emit is Node.emit and "emit" not in vars(node):
            vars(node)["emit"] = attached.emit  # saves one call for each emit
        self.observer.attached(node, attached)
        bare, is_async = hook_of(node, "on_message", "_handle_message")
        if form is not None:
            state.form = bare, form
        handler = self.observer.handler(state, bare, is_async)
        if is_async:
            state.kind = "drive"
            batch = BatchWorker(self, state, handler, with_port=True)
            self._workers.append(batch)
            state.fn = batch.drive
        else:
            state.fn = handler

    def _add_ticker(self, node: Node, state: NodeState) -> None:
        if not ticks(node) or isinstance(node, (FnNode, SourceNode)):
            return
        hook, is_async = hook_of(node, "on_tick", "_handle_tick")
        hook = self.observer.tick(state, hook)
        if is_async:
            worker = Worker(self, state, "on_tick")
            self._workers.append(worker)

            async def guarded() -> None:
                try:
                    await hook()
                except BaseException as error:
                    if not is_failure(error):
                        raise
                    state.fail("on_tick", error)

            def tick() -> None:
                worker.start(guarded())
        else:
            tick = hook
        self._tickers.append((node, self.engine.add_tick(state, tick)))

    # ---- the whole run ---------------------------------------------------------------------------------------

    async def main(self) -> RunReport:
        """Run to the end and return the report.

        Raises:
            NodeError: a node with `ErrorPolicy.RAISE_EXCEPTION` failed; everything was stopped in good order first.

        Cancellation: stops without draining, runs ``on_stop`` of every started node, then lets it pass.
        """
        logger = get_logger()
        try:
            self.assembly.join()
            await self._start()
            started = len(self.plan.nodes) - len(self.life.failed)
            logger.info("scheduler.ready", "all nodes started", nodes_count=started)
            self.events.record("run.started", total=started)
            self.reason = await self.done
        except BaseException as error:
            self.reason = "failed" if isinstance(error, Exception) else "cancelled"
            raise
        finally:
            await self._stop()
        if self.failure is not None:
            raise self.failure
        return self.report()

    async def _start(self) -> None:
        began = self.clock.monotonic_ns()
        hooked = [index for index, (_, node) in enumerate(self.plan.nodes) if node.__class__ is not FnNode]
        for index in hooked:
            self.assembly.state(index)
        for index, (_, node) in enumerate(self.plan.nodes):
            if node._kept is not None:
                kept, node._kept = node._kept, None
                self.assembly.state(index).take_over(kept)
        for index in hooked:
            self.life.started = index  # those between are functions, with nothing to be started
            if not await self._hook(index, "on_start"):
                self.life.failed.add(index)
                self.events.record("node.failed", node=self.plan.nodes[index].name, state="failed")
                self.assembly.state(index).held |= FAILED
        self.life.started = len(self.plan.nodes)
        self._begin_ns = self.clock.monotonic_ns()
        self._live = True
        for index in hooked:
            if index in self.life.failed:
                continue
            node, state = self.plan.nodes[index].node, self.assembly.state(index)
            if isinstance(node, SourceNode):
                self._open(node, state)
            else:
                self._add_ticker(node, state)
        self._to_drain += (
            index
            for index in reversed(self.plan.stop_order())
            if index not in self.life.failed and drains(self.plan.nodes[index].node)
        )
        self.assembly.wake_leftovers()
        for index, timer in self._asked.items():
            if timer is None:  # it was due before the start was over
                self._asked_tick(index)
        if any(node.regular_ticks for node, _ in self._tickers):
            interval = max(self.config.tick_interval_ms, 0) / 1000
            self._tick_timer = self.loop.call_later(
                interval, self._tick, self.loop.time() + interval, context=self.context
            )
        if self.stopping:
            self._begin_stop()
        self.observer.started(self.built_ns, self.clock.monotonic_ns() - began)
        self._armed = True
        self.loop.call_soon(self._slice, context=self.context)

    async def _hook(self, index: int, phase: str) -> bool:
        """Call a life-cycle hook, plain or asynchronous; say whether it succeeded."""
        name, node = self.plan.nodes[index]
        if getattr(type(node), phase) in _NO_HOOK:
            return True
        token = current_scope.set(Scope(None, self.random, self.clock.time))
        scope = current_scope.get()
        assert scope is not None
        scope.node = name
        self.life.hook = hook = Hook(index, phase, self.clock.monotonic_ns())
        try:
            result = getattr(node, phase)()
            if isinstance(result, Coroutine):
                self.life.hook = hook._replace(work=result)
                await result
        except BaseException as error:
            if not is_failure(error):
                raise
            state = self.assembly.state(index)
            before = state.errors
            state.fail(phase, error)
            return state.errors == before  # a refused emit that escaped is no failure: its message is kept
        finally:
            self.life.hook = None
            current_scope.reset(token)
        return True

    def _open(self, node: SourceNode, state: NodeState) -> None:
        if isinstance(node, Inlet):
            self.open_sources += 1
            self.waiting_sources += 1
            self._inlets.append(node)
            entering = self.observer.entering(state)
            feed = Feeding(self, state) if entering is None else TracedFeeding(self, state, entering)
            node.attach(feed)
            if node.closed:
                feed.close()
            return
        try:
            items = node.open()
            iterator = None if isinstance(items, AsyncIterable) else iter(items)
        except Exception as error:
            state.closed = True
            state.fail("on_start", error)
            return
        self.open_sources += 1
        if iterator is None:
            self.waiting_sources += 1
            items = self.observer.async_items(state, items)  # type: ignore[arg-type]  # asynchronous, as tested
            self._workers.append(SourceWorker(self, state, items))
        else:
            self.engine.start_source(state, self.observer.items(state, iterator))

    async def _stop(self) -> None:
        if not self._stop_began:
            self._say_stop()
        self.stopping = True
        self._live = False
        begin = self.clock.monotonic_ns()
        for timer in (
            self._tick_timer,
            self._quiet_timer,
            self._idle_timer,
            *self._timers,
            *self._asked.values(),
        ):
            if timer is not None:
                timer.cancel()
        if self._draining is not None:
            self._draining.cancel()
        waiting = [] if self._draining is None else [self._draining]
        waiting += [task for worker in self._workers if (task := worker.cancel()) is not None]
        for worker in self._workers:
            if isinstance(worker, PoolWorker):
                waiting += worker._tasks
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)
        for index in self.plan.stop_order():
            if index not in self.life.failed and self.plan.nodes[index].node.__class__ is not FnNode:
                await self._hook(index, "on_stop")
                self.life.stopped.add(index)
        self._hand_on_late()
        self._end_ns = self.clock.monotonic_ns()
        if self.failure is not None and self.reason != "cancelled":
            self.reason = "failed"  # whatever else came to its end in the same slice
        self._report_losses(last=True)
        get_logger().flush_limited()
        self.events.record(
            "run.ended", reason=self.reason, duration_s=max(self._end_ns - self._begin_ns, 0) / 1e9
        )
        self.events.close()
        self.observer.close(self._end_ns - begin)
        for inlet in self._inlets:
            inlet.detach()
        for woken in list(self._waiting_for_room):
            if not woken.done():
                woken.set_result(None)
        for _, node in self.plan.nodes:
            if node._attached is not None:
                if vars(node).get("emit") == node._attached.emit:
                    del vars(node)["emit"]
                node._attached = None
        self._final = count(self.assembly, self.life, over=True, timing=False)
        for state in self.assembly.known_states():
            if state.parked or state.inbox:
                self.plan.nodes[state.id].node._kept = [*(state.parked or ()), *(state.inbox or ())]
        self.assembly.take_apart()

    # ---- slices ----------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if not self._armed and self._live:
            self._armed = True
            self.loop.call_soon(self._slice, context=self.context)

    def _arm_from_thread(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._arm, context=self.context)
        except RuntimeError:  # the loop is closed: the run is over
            pass

    def _slice(self) -> None:
        self._armed = False
        if not self._live:
            return
        self.scope.now = self.clock.time()
        self.slices += 1
        self._others.let_in()
        if self._generation != observability.generation():
            self._reconfigured()
        try:
            more = self.observer.slice(SLICE_MESSAGES, SLICE_NS)
        except BaseException as error:
            self._live = False  # no node's code runs any more but its on_stop
            if isinstance(error, Exception):  # a bug of ours: not for the loop to log, but for run() to raise
                if not self.done.done():
                    self.done.set_exception(error)
                return
            self._finish("cancelled")  # KeyboardInterrupt or SystemExit, on its way out of the loop
            raise
        if self._losses:
            self._report_losses()
        if more:
            self._arm()
        elif not self.waiting_sources or self.stopping or self._ends_when_idle:  # else it can't be the end
            self.check_end()

    def run_now(self) -> None:
        """Run what is due right here instead of in the next pass of the loop, unless a slice is running already."""
        if self._live and not self.engine.running:
            self._armed = True  # nothing needs to ask for a slice meanwhile
            resumed = self.engine.resumed
            began = 0 if resumed is None else self.clock.monotonic_ns()
            try:
                self.context.run(self._slice)
            except RuntimeError:
                self._armed = False
                self._arm()
            finally:
                if resumed is not None:  # the turns have counted as those of their nodes
                    self.engine.resumed_at += self.clock.monotonic_ns() - began

    @property
    def stopped(self) -> bool:
        """Whether no node's code may run any more but its ``on_stop``."""
        return not self._live

    def handling_workers(self) -> list[BatchWorker | PoolWorker]:
        """Return the workers of nodes whose handler is asynchronous."""
        return [worker for worker in self._workers if isinstance(worker, BatchWorker | PoolWorker)]

    def workers(self) -> Sequence[Worker | PoolWorker | SourceWorker]:
        """Return all that runs asynchronous code of nodes."""
        return self._workers

    def settle(self) -> None:
        """Something asynchronous came to its end: go on, or see whether that was the end."""
        if not self._armed and self._live:
            self._armed = True
            self.loop.call_soon(self._slice, context=self.context)

    # ---- the end ---------------------------------------------------------------------------------------------

    def check_end(self) -> None:
        """End the run if nothing can happen any more."""
        if not self._live or self.done.done() or self.in_flight or not self.engine.idle() or self._armed:
            return
        if self.stopping:
            if not self._is_pending_still() and not self._drain():
                self._finish("shutdown" if self.failure is None else "failed")
            return
        if self.waiting_sources:
            self._watch_idle()
            return
        pending = [self._has_pending(node, turn) for node, turn in self._tickers]
        if True in pending:
            self._watch_idle()
            return
        # What has inputs may still be fed by hand, from a thread say: it is for nodes without to declare an end.
        declared = self._has_source or any(not node.inputs for node, _ in self._tickers)
        if None not in pending and declared:
            if self._drain():
                return
            left = any(ring is not None and ring.depth() for _, ring in self.assembly.known_rings())
            stuck = self.open_sources or left or any(state.parked for state in self.assembly.known_states())
            self._finish("stuck" if stuck else "finished")
            return
        remaining = self.config.shutdown_timeout_s - (self.clock.monotonic_ns() - self._begin_ns) / 1e9
        if remaining <= 0:
            if self._drain():
                return
            get_logger().info(
                "scheduler.timeout", "tickers without a declared end: stopping at a quiet moment"
            )
            self._finish("quiet")
        else:
            if self._quiet_timer is None:
                self._quiet_timer = self.loop.call_later(remaining, self._quiet, context=self.context)
            self._watch_idle()

    def _has_pending(self, node: Node, turn: Turn) -> bool | None:
        try:
            pending = node.has_pending()
            if pending is None and not node.regular_ticks:
                return self._asked.get(turn.node) is not None
            return pending
        except Exception as error:
            self.engine.nodes[turn.node].fail("on_tick", error)
            return None

    def _is_pending_still(self) -> bool:
        """Say whether, during a stop, a node that minds its own time has something to do.

        One still to be drained only counts while it will take more of what waits on its edges.
        """
        return any(
            self._has_pending(node, turn)
            for node, turn in self._tickers
            if (turn.node in self._asked or not node.regular_ticks)
            and (turn.node not in self._to_drain or self.engine.nodes[turn.node].holds_back())
        )

    def _drain(self) -> bool:
        """Let the next node emit what it holds; ``False`` if none is left."""
        if not self._to_drain:
            return self._hand_on_late()
        self._start_draining(self._to_drain[0])
        return True

    def _hand_on_late(self) -> bool:
        """Hand on what functions emitted since they last ran, having kept their ``emit``; say whether any did."""
        late = [state for state in self.assembly.known_states() if state.out]
        for state in late:
            state.flush()
        if late:
            self.settle()
        return bool(late)

    def _start_draining(self, *nodes: int) -> None:
        self.in_flight += 1
        self._draining = begun(self.loop, self._drain_nodes(nodes), self.context.copy())

    async def _drain_nodes(self, nodes: tuple[int, ...]) -> None:
        cancelled = await first_step()
        try:
            if cancelled is not None:
                raise cancelled
            for index in nodes:
                self._to_drain.remove(index)
                await self._hook(index, "on_drain")
        finally:
            self._draining = None
            self.in_flight -= 1
            self.settle()

    def _quiet(self) -> None:
        self._quiet_timer = None
        self.check_end()

    def _watch_idle(self) -> None:
        limit = self.config.idle_timeout_s
        if limit is None:
            return
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        seen = self.slices
        self._idle_timer = self.loop.call_later(limit, self._idle, seen, context=self.context)

    def _idle(self, seen: int) -> None:
        if seen == self.slices and not self.in_flight and self.engine.idle():
            self._finish("idle")

    def _finish(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_result(reason)

    def request_stop(self) -> None:
        """Stop in good order: sources first, then drain; call on the loop's thread."""
        if not self.stopping:
            self.stopping = True
            if self._live:
                self._begin_stop()

    def abort(self) -> None:
        """Stop draining."""
        self.request_stop()
        self._finish("shutdown")

    def _say_stop(self) -> None:
        self._stop_began = True
        get_logger().info("scheduler.shutdown_start", "sources stop, edges drain, nodes stop")
        self.events.record("run.stopping")

    def _begin_stop(self) -> None:
        self._say_stop()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        for state in self.assembly.known_states():
            node = self.plan.nodes[state.id].node
            if isinstance(node, Inlet):
                node.detach()
                if not state.closed:
                    state.closed = True
                    self.source_ended()
            elif isinstance(node, SourceNode):
                state.closed = True
        for worker in self._workers:
            if isinstance(worker, SourceWorker):
                worker.cancel()
        fed = {edge.target for edge in self.plan.edges if edge.source != edge.target}
        first = [i for i in self._to_drain if i not in fed and not self.assembly.state(i).held & BUSY]
        if first and self._draining is None:  # as long as these tick, there may never be a quiet moment
            self._start_draining(*first)
        limit = max(self.config.shutdown_timeout_s, 0.0)
        self._timers.append(self.loop.call_later(limit, self._finish, "shutdown", context=self.context))
        self._arm()

    def source_ended(self) -> None:
        """A source that may produce something at any time is exhausted, closed, failed or cancelled."""
        self.open_sources -= 1
        self.waiting_sources -= 1
        self.settle()

    def _on_source_finished(self, node: int) -> None:
        del node
        self.open_sources -= 1

    # ---- ticks -----------------------------------------------------------------------------------------------

    def _tick(self, due: float) -> None:
        if self.stopping or not self._live:
            return
        for node, turn in self._tickers:
            if node.regular_ticks and not turn.queued:
                self.engine.ready(turn)
        interval = max(self.config.tick_interval_ms, 0) / 1000
        due = max(due + interval, self.loop.time())
        self._tick_timer = self.loop.call_at(due, self._tick, due, context=self.context)

    def tick_in(self, index: int, seconds: float) -> None:
        """Let a node tick after so many seconds, or when it asked for one before, if that is earlier."""
        due = self.loop.time() + max(seconds, 0)
        timer = self._asked.get(index)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._asked[index] = self.loop.call_at(due, self._asked_tick, index, context=self.context)

    def _asked_tick(self, index: int) -> None:
        self._asked[index] = None
        turn = self.assembly.state(index).tick_turn
        if self._live and turn is not None and not turn.queued:
            self.engine.ready(turn)

    # ---- room ------------------------------------------------------------------------------------------------

    async def room_on(self, ring: Ring) -> None:
        """Wait until ``ring`` has made room. Cancellation: leaves the line."""
        woken: asyncio.Future[None] = self.loop.create_future()
        turn = self.engine.turn(ring.node, 2)

        def wake() -> int:
            if not woken.done():
                woken.set_result(None)
            return 0

        turn.run = wake
        self.engine.now = self.clock.monotonic_ns()  # the wait may begin long after the last slice
        ring.wait(turn)
        self._waiting_for_room.add(woken)
        try:
            await woken
            if not self._live:
                raise ClosedError(ring.id, f"the run ended while something waited for room on edge {ring.id}")
        finally:
            self._waiting_for_room.discard(woken)
            ring.forget(turn)

    async def send_result(self, state: NodeState, item: Any) -> None:
        """Hand on one result of an asynchronous generator or source, waiting for room."""
        if item is None and state.kind != "source":
            return
        while (full := state.try_result(item)) is not None:
            await self.room_on(full)
        self.engine.arm_if_idle()

    # ---- what goes wrong -------------------------------------------------------------------------------------

    def _on_error(self, index: int, phase: str, error: BaseException, item: Any, port: str) -> To | None:
        del item  # a payload is told to nobody
        state = self.assembly.known_state(index)
        name = self.plan.nodes[index].name
        described = describe_error(error)
        self.record(name, phase, described)
        event = {"on_message": "node.message_error", "on_tick": "node.tick_error"}.get(
            phase, f"node.{phase[3:]}_error"
        )
        get_logger().error_limited(
            (name, phase, described.type, described.where),
            event,
            f"{phase} failed",
            node=name,
            error_type=described.type,
            error_msg=described.message,
            where=described.where,
            **({"port": port} if port else {}),
        )
        came_from = self.observer.failed_in(error)
        if state is None:
            return None
        if state.error_policy is ErrorPolicy.RAISE_EXCEPTION:
            if self.failure is None:
                self.failure = NodeError(name, phase, error)
                self.failure.__cause__ = error
            self.loop.call_soon(self.request_stop, context=self.context)
        elif state.error_policy is ErrorPolicy.EMIT_ERROR and state.ports:
            out = "error" if "error" in state.ports else next(iter(state.ports))
            payload = {
                "error_type": type(error).__name__,
                "error_message": described.message,
                "context": {"node": name, "phase": phase, "port": port},
            }
            message = Message(ERROR, payload, {"error_source": "meridian"})
            return To(out, with_header(message, traceparent.HEADER, came_from) if came_from else message)
        return None

    def record(self, name: str, phase: str, described: ErrorDescription) -> None:
        """Count a failure of a node, and keep what may be told of it."""
        self.errors_total += 1
        told = ErrorReport(name, phase, described.type, described.where, described.message)
        self.errors.append(told)
        self.last_errors[name] = told
        self.events.record(
            "node.error",
            node=name,
            phase=phase,
            error=described.type,
            where=described.where,
            message=described.message,
            total=self.errors_total,
        )

    def _on_slow(self, index: int, ns: int) -> None:
        self.events.record("node.slow", node=self.plan.nodes[index].name, duration_s=ns / 1e9)

    def _declares(self, index: int, port: str) -> bool:
        """Say whether the node has that output by now; it may have got it after the run began."""
        return any(each.name == port for each in ports_of(self.plan.nodes[index].node.outputs, _OUT))

    def _on_invalid(self, edge: str) -> None:
        get_logger().warn_limited(
            edge + "validation", "edge.validation_failed", "payload does not fit the schema", edge_id=edge
        )

    def _on_loss(self, edge: str, cause: str, n: int, error: BaseException | None) -> None:
        del n  # what is told comes from the ring's own count
        self._losses.append((edge, cause, error))

    def _report_losses(self, *, last: bool = False) -> None:
        """Tell what was lost since the last time, once per edge and cause; at the ``last`` time, what nobody noted too."""
        lost: dict[tuple[str, str], BaseException | None] = {}
        while self._losses:
            edge, cause, error = self._losses.popleft()
            lost[edge, cause] = error
        if last and self._told_losses:
            for planned, ring in self.assembly.known_rings():
                for cause in (ring.lost or ()) if ring is not None else ():
                    if cause != "replaced":  # that is what a latest edge is for
                        lost.setdefault((planned.id, cause), None)
        for (edge, cause), error in lost.items():
            ring = self.assembly.ring_of(edge)
            total = 0 if ring is None else (ring.lost or {}).get(cause, 0)
            n = total - self._told_losses.get((edge, cause), 0)
            if n > 0:
                self._told_losses[edge, cause] = total
                self._tell_loss(edge, cause, n, total, error)

    def _tell_loss(self, edge: str, cause: str, n: int, total: int, error: BaseException | None) -> None:
        said: dict[str, Any] = {"edge": edge, "cause": cause, "n": n, "total": total}
        if cause == "coalesce_error" and error is not None:
            described = describe_error(error)
            said |= {"error": described.type, "where": described.where}
            get_logger().error_limited(
                (edge, described.type, described.where),
                "edge.coalesce_error", "coalesce function failed; the older item is lost",
                edge_id=edge, n=n, error_type=described.type, where=described.where,
            )  # fmt: skip
        else:
            get_logger().warn_limited(
                edge + cause, "scheduler.message_dropped", f"messages lost: {cause}",
                edge_id=edge, cause=cause, n=n,
            )  # fmt: skip
        self.events.record("edge.loss", **said)

    def _reconfigured(self) -> None:
        """Logging, metrics or tracing changed: choose handlers anew."""
        self._generation = observability.generation()
        self.observer.reconfigured()

    # ---- settings --------------------------------------------------------------------------------------------

    def set_band(self, edge: str, band: int) -> bool:
        """Serve an edge in another band; ``False`` if there is no such edge."""
        ring = self.assembly.ring_of(edge)
        if ring is not None:
            self.engine.set_band(ring, band)
        return ring is not None

    def set_capacity(self, edge: str, capacity: int) -> bool:
        """Change an edge's capacity; ``False`` if there is no such edge."""
        for planned in self.plan.edges:
            if planned.id == edge:
                planned.edge.capacity = capacity
                return True
        return False

    # ---- report ----------------------------------------------------------------------------------------------

    def report(self) -> RunReport:
        """Count what happened so far."""
        return report_of(self.facts())

    def facts(self, *, timing: bool = False) -> Facts:
        """Return what is to be known of this run; from any thread.

        Args:
            timing: Let each edge time what comes next, for a while.
        """
        final = self._final
        over = self._end_ns is not None
        now = self.clock.monotonic_ns() if self._end_ns is None else self._end_ns
        return Facts(
            id=self.id,
            plan=self.plan,
            counts=count(self.assembly, self.life, over=over, timing=timing) if final is None else final,
            at_ns=now,
            at_s=self.clock.time(),
            elapsed_s=max(now - self._begin_ns, 0) / 1e9,
            status="stopped" if over else "running",
            reason=self.reason,
            engine=self.choice,
            errors=list(self.errors),
            errors_total=self.errors_total,
            weights=self.config.fairness_ratio,
            slices=self.slices,
            cpu=self.cpu,
            last_errors=self.last_errors,
            live=self if final is None else None,
        )

    @property
    def over(self) -> bool:
        """Whether everything has been counted for the last time."""
        return self._final is not None


_NO_HOOK = (FnNode.on_start, FnNode.on_stop, SourceNode.on_start, SourceNode.on_stop)
