"""How the kit runs Meridian's asynchronous nodes: the runtime's own workers, on a loop that turns only when it is told to."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, DATA, Message
from meridian.runtime.run import Run
from meridian.runtime.workers import BatchWorker, PoolWorker
from meridian_conformance.engine.contract import OUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from meridian.core.clock import Clock
    from meridian.engine.kernel import PythonEngine
    from meridian.engine.node import NodeState
    from meridian_conformance.engine.contract import NodeSpec, World


class SteppedLoop:
    """As much of an event loop as tasks and futures need: without time, sockets and threads.

    What is due runs, first in, first out, when a block of `running` ends; what it raises is raised there.
    """

    def __init__(self) -> None:
        self._due: deque[tuple[contextvars.Context, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._self: Any = self

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> None:
        self._due.append((context or contextvars.copy_context(), callback, args))

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self._self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing to do: what is told here is that an engine is gone before its work ended."""

    def get_debug(self) -> bool:
        return False

    @contextmanager
    def running(self) -> Generator[None]:
        """Be the running loop within the block, and at its end turn until nothing is due."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self._self)
        try:
            yield
            while self._due:
                context, callback, args = self._due.popleft()
                context.run(callback, *args)
        finally:
            asyncio._set_running_loop(outer)


class AsynchronousWork(Run):
    """What the workers of the runtime need of a run, without plan, lifecycle or timers.

    Args:
        engine: Who runs the graph.
        clock: The engine's time.
        world: Whose work ends later.
    """

    batch_type: type[BatchWorker] = BatchWorker
    pool_type: type[PoolWorker] = PoolWorker

    def __init__(self, engine: PythonEngine, clock: Clock, world: World) -> None:
        self.stepped = SteppedLoop()
        self.loop: Any = self.stepped
        self.engine = engine
        self.clock = clock
        self.random = None
        self.in_flight = self.slices = 0
        self.world = world
        self.waiting: dict[int, int] = {}
        self._waiting_for_room = set()
        self._live = True
        self._workers = []

    def settle(self) -> None:
        """Nothing to do: the kit runs the next slice."""

    def attach(self, node: int, spec: NodeSpec, link: int | None, state: NodeState) -> None:
        """Let a node work asynchronously, in that of the runtime's ways which can do what it is to do.

        Args:
            node: The node.
            spec: What it does.
            link: Its one input, or ``None`` if it has several: then it is a node written as a class.
            state: The node, as the engine knows it.
        """
        state.kind = "drive"
        worker: BatchWorker | PoolWorker
        if link is None:
            worker = self.batch_type(self, state, self._handler(node, state), with_port=True)
        elif spec.concurrency > 1:
            worker = self.pool_type(self, state, self._function(node, link), spec.concurrency, spec.ordered)
        elif spec.work == "burst":
            worker = self.batch_type(self, state, self._generator(node, link), stream=True)
        else:
            worker = self.batch_type(self, state, self._function(node, link))
        state.fn = worker.drive
        self._workers.append(worker)

    async def _results(self, node: int, link: int, item: Any) -> Iterator[Any]:
        ended: asyncio.Future[Iterator[Any]] = self.loop.create_future()

        def tell(results: Iterator[Any] | None) -> None:
            if results is None:
                ended.cancel()
            else:
                ended.set_result(results)
            if asyncio._get_running_loop() is not self.loop:  # told between two slices
                with self.stepped.running():
                    pass

        self.world.start(node, link, item, tell)
        return await ended

    def _function(self, node: int, link: int) -> Callable[[Any], Any]:
        async def function(item: Any) -> Any:
            return next(await self._results(node, link, item), None)

        return function

    def _generator(self, node: int, link: int) -> Callable[[Any], Any]:
        async def generator(item: Any) -> AsyncIterator[Any]:
            for each in await self._results(node, link, item):
                self.waiting[node] = 1
                yield each
                self.waiting[node] = 0

        return generator

    def _handler(self, node: int, state: NodeState) -> Callable[[str, Message[Any]], Any]:
        emit = state.make_emit()

        async def handler(port: str, message: Message[Any]) -> None:
            if message.type is CONTROL:
                self.world.handle_control(node, int(port), message.payload)
                return
            for each in await self._results(node, int(port), message.payload):
                emit(OUT, Message(DATA, each))

        return handler

    def close(self) -> None:
        """Cancel what is in progress."""
        self._live = False
        with self.stepped.running():
            for worker in self._workers:
                worker.cancel()
