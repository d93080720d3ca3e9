"""Asynchronous work: handlers, sources and waits for room, on top of an engine that knows nothing of asyncio.

A batch of an asynchronous node is one coroutine. It is started inline, with the node's own task entered, so that a
handler which doesn't suspend costs neither a task nor a pass of the loop. When it does suspend, the half-done batch is
handed to that task and goes on there: ``current_task()`` and the context are the same before and after, so timeouts,
cancellation and context variables behave as in any task. Messages that the batch hadn't begun go back to their edge.

What a node's code takes is its time, wherever it runs: until a batch suspends that is in the time of its turn, which the
engine takes; each time it goes on later is timed here, as are the tasks of pools and sources from their first step on.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, DATA, Message, Scope, current_scope
from meridian.engine.kernel import SLICE_CAP_NS, SLOW_NS
from meridian.engine.step import PAUSED, To, inherit

if TYPE_CHECKING:
    from meridian.engine.node import NodeState
    from meridian.runtime.run import Run

_enter_task = asyncio.tasks._enter_task  # documented for custom tasks
_leave_task = asyncio.tasks._leave_task


@types.coroutine
def first_step() -> Generator[None, None, asyncio.CancelledError | None]:
    """Wait for the first step of the task; return the cancellation that came before it."""
    try:
        yield
    except asyncio.CancelledError as error:
        return error
    return None


def begun(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None], context: contextvars.Context
) -> asyncio.Task[None]:
    """Make a task of ``work``, which awaits `first_step` first and so is told of a cancellation before its first step.

    Begun by hand: a task that is cancelled before that step would never run the coroutine at all, not even its ``finally``.
    """
    work.send(None)
    return loop.create_task(work, context=context)


def begun_for(
    state: NodeState,
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, None],
    context: contextvars.Context,
) -> asyncio.Task[None]:
    """Make a task of ``work`` as `begun` does, whose time counts as that of a node."""
    waits_for = work.send(None)
    return begun(loop, _adopted(state, work, waits_for), context)


async def _adopted(state: NodeState, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await adopt(state, work, waits_for)


@types.coroutine
def adopt(
    state: NodeState,
    work: Coroutine[Any, Any, None],
    waits_for: Any,
    cancelled: asyncio.CancelledError | None = None,
) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was started elsewhere and now waits for ``waits_for``; its time is that of a node.

    Each time it goes on is timed, and told if it takes too long, as a turn of the engine is.

    Args:
        state: The node.
        work: The coroutine.
        waits_for: What it yielded last.
        cancelled: Came before its task could take it over: it is passed on as a task does it, through what is waited for.
    """
    engine = state.engine
    clock = engine.clock
    raised: BaseException | None = cancelled
    if raised is not None and waits_for is not None and waits_for.cancel():
        raised = None
    while True:
        if raised is None:
            try:
                yield waits_for
            except BaseException as error:
                raised = error
        engine.resumed_at = clock()
        engine.resumed = state
        try:
            waits_for = work.send(None) if raised is None else work.throw(raised)
        except StopIteration:
            return
        finally:
            raised = engine.resumed = None
            spent = clock() - engine.resumed_at
            state.resumed_ns += spent
            state.resumptions += 1
            if spent >= SLOW_NS:
                engine.on_slow(state.id, spent)


def is_failure(error: BaseException) -> bool:
    """Say whether ``error`` is a failure of the code that was awaited, a cancelled wait of its own included.

    The cancellation of the task itself is not: it comes from outside, and has to pass.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return isinstance(error, Exception)


class Worker:
    """Runs the coroutines of one node, one at a time.

    Args:
        run: The run it belongs to.
        state: The node, as the engine knows it.
        phase: The hook that failures are reported under.
    """

    def __init__(self, run: Run, state: NodeState, phase: str = "on_message") -> None:
        self.run = run
        self.state = state
        self.phase = phase
        self.context = contextvars.copy_context()
        self.scope = Scope(None, run.random, run.clock.time)
        self.scope.node = state.name
        self.idle = self.scope
        """The scope between two messages, and of bare items."""
        self.context.run(current_scope.set, self.scope)
        self.detached = False
        self._task: asyncio.Task[None] | None = None
        self._handed: asyncio.Future[tuple[Coroutine[Any, Any, None], Any]] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> bool:
        """Drive ``work`` until it ends or suspends; say whether it ended.

        While it is suspended the node is held.
        """
        loop = self.run.loop
        task = self._task
        if task is None or task.done() or task.cancelling():  # cancelled by a handler that then didn't wait
            self._handed = loop.create_future()
            task = self._task = begun(loop, self._go_on(self._handed), self.context)
        outer = asyncio.current_task(loop)
        if outer is not None:  # a run-to-completion put, from a task of the user's
            _leave_task(loop, outer)
        _enter_task(loop, task)
        try:
            waits_for = self.context.run(work.send, None)
        except StopIteration:
            return True
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        self.state.hold()
        self.run.in_flight += 1
        handed = self._handed
        assert handed is not None
        if handed.cancelled():  # by the work itself, whose task waited for it already
            handed = self._handed = loop.create_future()
        handed.set_result((work, waits_for))
        return False

    async def _go_on(self, handed: asyncio.Future[tuple[Coroutine[Any, Any, None], Any]]) -> None:
        """The node's task: finishes what `start` had to hand over."""
        cancelled = await first_step()
        while True:
            if cancelled is None:
                try:
                    await handed
                except asyncio.CancelledError as error:
                    cancelled = error
                    # Work that cancelled this task while it waited is handed over by a future of its own.
                    if self._task is asyncio.current_task() and self._handed is not None:
                        handed = self._handed
            if cancelled is not None and (handed.cancelled() or not handed.done()):  # nothing was in progress
                raise cancelled
            work, waits_for = handed.result()  # a timeout of the handler, say, was faster than this task
            self.detached = True
            try:
                await adopt(self.state, work, waits_for, cancelled)
            except asyncio.CancelledError as error:
                if self.run.stopped:
                    raise
                task = asyncio.current_task()
                while task is not None and task.cancelling():  # the hook cancelled itself; the node goes on
                    task.uncancel()
                self.state.fail(self.phase, error)
            finally:
                self.detached = False
                cancelled = None
                handed = self._handed = self.run.loop.create_future()
                self.run.in_flight -= 1
            self.finish()
            self.state.release()
            self.run.settle()

    def under_way(self) -> Coroutine[Any, Any, None] | None:
        """Return the work that is suspended, from any thread."""
        handed = self._handed
        return handed.result()[0] if handed is not None and handed.done() and not handed.cancelled() else None

    def finish(self) -> None:
        """Called when handed-over work ended, before the node goes on."""

    def cancel(self) -> asyncio.Task[None] | None:
        """Cancel what is in progress; return the task to wait for."""
        if self._task is not None:
            self._task.cancel()
        return self._task


class BatchWorker(Worker):
    """Handles messages one after the other in an ``async def`` function.

    Args:
        run: The run it belongs to.
        state: The node, as the engine knows it.
        fn: ``fn(item)``, or for nodes written as classes ``fn(port, message)``.
        stream: ``fn`` is an asynchronous generator function.
        with_port: ``fn`` takes the port too.
    """

    def __init__(
        self, run: Run, state: NodeState, fn: Any, *, stream: bool = False, with_port: bool = False
    ) -> None:
        super().__init__(run, state)
        self.fn = fn
        self._work = self._ports if with_port else self._streams if stream else self._results
        self._out: list[Any] = []
        self._since = self._seen = 0
        self._plain = state.trusted and state.only_ring() is not None

    def drive(self, rest: Iterator[Any], out: list[Any], port: str) -> None:
        """Work on the items of ``rest`` and append results to ``out``; what isn't begun stays in ``rest``."""
        self._out = out
        self.start(self._work(rest, out, port))

    def finish(self) -> None:
        out = self._out
        if len(out) == 1 and self._plain:
            self.state.hand_on_one(out[0])
            out.clear()
        elif out:
            self.state.hand_on(out)
            out.clear()

    async def _results(self, rest: Iterator[Any], out: list[Any], port: str) -> None:
        state, fn, append = self.state, self.fn, out.append
        wants_message = state.wants_message
        sweeps = None if wants_message else state.engine.sweep
        sweep: Any = None if sweeps is None else sweeps(fn, rest, out)
        x: Any = None
        while True:
            try:
                while True:
                    items: Iterable[Any] = rest
                    if sweep is not None:  # raw items are handled there; what comes out is the next envelope
                        x = None
                        x = await sweep
                        items = () if x is None else (x,)
                    for x in items:
                        if x.__class__ is Message:
                            if wants_message or x.type is DATA:
                                self._handle(x)
                                y = await fn(x if wants_message else x.payload)
                                if y is not None:
                                    append(inherit(x, y))
                                self._handled()
                            else:
                                append(x)
                        else:
                            append(await fn(x))
                    if sweep is None or x is None:
                        break
            except BaseException as error:
                if not is_failure(error):
                    raise
                if sweep is not None and x is None:
                    x = sweep.item
                state.fail("on_message", error, x, port, out)
                self._handled()
                continue
            if not self.detached:
                return
            self.finish()
            if self._is_due():
                await asyncio.sleep(0)
            following = state.next_while_busy()
            if following is None:
                return
            rest, port = iter(following[0]), following[1]
            sweep = None if sweeps is None else sweeps(fn, rest, out)

    def _is_due(self) -> bool:
        """Say whether others must get a turn now.

        In the node's own task the next message is begun without handing it over, which saves two passes of the loop for
        each message whose handler suspends. Handlers that no longer do would keep the loop for themselves: where no
        slice has run since the last look, the time of one is what they get.
        """
        run = self.run
        run.settle()
        if run.slices != self._seen:
            self._seen = run.slices
            self._since = 0
            return False
        now = run.clock.monotonic_ns()
        self._since = self._since or now
        return now - self._since > SLICE_CAP_NS

    async def _streams(self, rest: Iterator[Any], out: list[Any], port: str) -> None:
        state, fn = self.state, self.fn
        for x in rest:
            parent = x if isinstance(x, Message) else None
            if parent is not None:
                if parent.type is not DATA and not state.wants_message:
                    await self.run.send_result(state, parent)
                    continue
                self._handle(parent)
            try:
                async for y in fn(x if parent is None or state.wants_message else parent.payload):
                    if parent is not None and y is not None:  # None is no result
                        y = inherit(parent, y)
                    await self.run.send_result(state, y)
            except BaseException as error:
                if not is_failure(error):
                    raise
                failed: list[Any] = []
                state.fail("on_message", error, x, port, failed)
                for made in failed:
                    await self.run.send_result(state, made)
            if parent is not None:
                self._handled()

    async def _ports(self, rest: Iterator[Any], out: list[Any], port: str) -> None:
        for x in rest:
            self._handle(x)
            self.scope.port = port
            try:
                await self.fn(port, x)
            except BaseException as error:
                if not is_failure(error):
                    raise
                self.state.fail("on_message", error, x, port)
            state = self.state
            if state.parked or state.held & PAUSED or (state.paused and port in state.paused):
                return  # what isn't begun waits

    def _handle(self, message: Message[Any]) -> None:
        """Note the message in hand, in a scope of its own: tasks that the handler starts keep this one."""
        scope = Scope(None, self.run.random, self.run.clock.time)
        scope.handling, scope.node = message, self.state.name
        self.scope = scope
        current_scope.set(scope)

    def _handled(self) -> None:
        """The message in hand is done: a bare item that follows is none of its family."""
        self.scope = self.idle
        current_scope.set(self.idle)


class PoolWorker:
    """Works on several messages of one node at a time, each in a task of its own.

    Args:
        run: The run it belongs to.
        state: The node, as the engine knows it; its ``free`` counts down to zero.
        fn: ``fn(item)``.
        concurrency: Most tasks at a time.
        ordered: Results leave in the order in which their messages came; a slow one holds back those behind it.
    """

    def __init__(self, run: Run, state: NodeState, fn: Any, concurrency: int, ordered: bool) -> None:
        self.run = run
        self.state = state
        self.fn = fn
        self.ordered = ordered
        self._tasks: dict[asyncio.Task[None], Coroutine[Any, Any, None]] = {}
        """With what each works on, the oldest first."""
        self._waiting: dict[int, Any] = {}
        """The messages whose task has not had its first step yet, in order, by the identity of their slot."""
        self._slots: deque[list[Any]] = deque()
        state.free = concurrency

    def drive(self, rest: Iterator[Any], out: list[Any], port: str) -> None:
        """Start a task for each item of ``rest``."""
        state = self.state
        for x in rest:
            if isinstance(x, Message) and x.type is not DATA and not state.wants_message:
                out.append(x)
                continue
            slot: list[Any] = [False, None]
            if self.ordered:
                self._slots.append(slot)
            context = contextvars.copy_context()
            scope = Scope(None, self.run.random, self.run.clock.time)
            scope.node = state.name
            scope.handling = x if isinstance(x, Message) else None
            context.run(current_scope.set, scope)
            state.free -= 1
            self.run.in_flight += 1
            self._waiting[id(slot)] = x
            work = self._one(x, port, slot)
            task = begun_for(state, self.run.loop, work, context)
            self._tasks[task] = work
            task.add_done_callback(self._tasks.__delitem__)

    async def _one(self, x: Any, port: str, slot: list[Any]) -> None:
        cancelled = await first_step()
        self._waiting.pop(id(slot), None)
        state = self.state
        is_message = isinstance(x, Message)
        try:
            if cancelled is not None:
                raise cancelled
            y = await self.fn(x.payload if is_message and not state.wants_message else x)
            if y is not None and is_message:
                y = inherit(x, y)
        except BaseException as error:
            cancels_itself = isinstance(error, asyncio.CancelledError) and not self.run.stopped
            if not (cancels_itself or is_failure(error)):
                raise
            failed: list[Any] = []
            state.fail("on_message", error, x, port, failed)
            y = failed[0] if failed else None
        finally:
            self.run.in_flight -= 1
        slot[:] = True, y
        if not self.ordered:
            self._deliver(slot)
        while self._slots and self._slots[0][0]:
            self._deliver(self._slots.popleft())
        if not state.held & ~PAUSED:
            state.resume()
        self.run.settle()

    def _deliver(self, slot: list[Any]) -> None:
        self.state.free += 1
        if slot[1] is not None:
            self.state.hand_on([slot[1]])

    def under_way(self) -> Coroutine[Any, Any, None] | None:
        """Return the oldest call that is under way, from any thread."""
        return next(iter(tuple(self._tasks.values())), None)

    def cancel(self) -> asyncio.Task[None] | None:
        """Cancel all tasks; return one of them to wait for, or ``None``."""
        self._give_back()
        for task in self._tasks:
            task.cancel()
        return next(iter(self._tasks), None)

    def _give_back(self) -> None:
        """Put back on their edges what was taken, but not begun; CONTROL counts as delivered.

        Where several edges lead here nobody knows any more which one each came from, so it goes to one that has delivered.
        """
        rings = [ring for ring in self.state.engine.rings if ring.node == self.state.id]
        for x in reversed(self._waiting.values()):
            if not isinstance(x, Message) or x.type is not CONTROL:
                ring = next(ring for ring in rings if ring.taken > ring.taken_control)
                ring.settle(0, [x])
        self._waiting.clear()


class SourceWorker:
    """Pulls from an asynchronous iterable, waiting for room before it asks for the next item.

    Args:
        run: The run it belongs to.
        state: The node, as the engine knows it.
        items: What to pull from.
    """

    def __init__(self, run: Run, state: NodeState, items: AsyncIterable[Any]) -> None:
        self.run = run
        self.state = state
        context = contextvars.copy_context()
        scope = Scope(None, run.random, run.clock.time)
        scope.node = state.name
        context.run(current_scope.set, scope)
        self._work = self._pull(items)
        self.task = begun_for(state, run.loop, self._work, context)

    async def _pull(self, items: AsyncIterable[Any]) -> None:
        cancelled = await first_step()
        state = self.state
        iterator: AsyncIterator[Any] | None = None
        try:
            if cancelled is not None:
                raise cancelled
            iterator = aiter(items)
            async for item in iterator:
                try:
                    await self.run.send_result(state, item)
                except asyncio.CancelledError:  # a stop drains what was already pulled, too
                    port, value = item if item.__class__ is To else (state.default, item)
                    if port in state.ports:
                        state.park(port, [value])
                    raise
                finally:
                    state.produced += 1
                if state.produced % 64 == 0:
                    await asyncio.sleep(
                        0
                    )  # one that never suspends, into edges that never fill, must not starve others
        except BaseException as error:
            if not is_failure(error):
                raise
            state.fail("on_message", error)
        finally:
            try:
                close = getattr(iterator, "aclose", None)
                if close is not None:
                    await close()
            except Exception as error:
                state.fail("on_message", error)
            finally:
                state.closed = True
                self.run.source_ended()

    def under_way(self) -> Coroutine[Any, Any, None]:
        """Return what pulls."""
        return self._work

    def cancel(self) -> asyncio.Task[None]:
        """Stop pulling; return the task to wait for."""
        self.task.cancel()
        return self.task
