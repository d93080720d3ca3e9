"""Nodes that work on several messages at a time: in threads, or as coroutines."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from meridian.nodes.arguments import is_coroutine_function, member, size
from meridian.nodes.background import BackgroundNode, Job, call_aside, call_in, running_loop
from meridian.nodes.base import DistributionStrategy, NodeConfig, validate_callable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meridian.core.message import Message

__all__ = ["AsyncWorker", "WorkerPool"]


class WorkerPool(BackgroundNode):
    """Calls a plain function for each payload, in a pool of threads, and emits what it returns.

    In a run the loop is never held up: up to ``pool_size`` calls go on at a time, twice as many messages are taken at
    most, and results leave in the order of their messages. Without a run (in a `NodeTestHarness`, say) the function is
    called at once, in the caller's thread.

    CONTROL and ERROR messages pass, behind the results of what came before them.

    Args:
        name: Unique within its graph.
        worker_fn: ``worker_fn(payload)``; ``None`` as result emits nothing. It must be safe to call from several threads,
            and isn't stopped by a stop: what it still does then is waited for when the interpreter ends.
        pool_size: Most calls at a time.
        input_port: Name of the input.
        output_port: Name of the output.
        distribution_strategy: v1's; whichever thread is free takes the next message.
        config: Settings, among them what a failing call means.

    Raises:
        TypeError: ``worker_fn`` is a coroutine function, which `AsyncWorker` is for; ``pool_size`` is no int.
        ValueError: ``worker_fn`` can't be called with a payload; ``pool_size`` is less than 1.

    Cost: two hand-overs between threads for each message, about 50 µs; worth it for calls that wait or release the GIL.

    Example:
        ```python
        import hashlib

        from meridian import Scheduler, graph, sink, source
        from meridian.nodes import WorkerPool

        got = []
        digest = WorkerPool(
            "digest", lambda text: hashlib.sha256(text.encode()).hexdigest()[:8], pool_size=2
        )
        scheduler = Scheduler()
        scheduler.register(graph("g", source(["a", "b"]) >> digest >> sink(got.append)))
        scheduler.run()
        assert got == ["ca978112", "3e23e816"]
        ```
    """

    def __init__(
        self,
        name: str,
        worker_fn: Callable[[Any], Any],
        pool_size: int = 4,
        input_port: str = "input",
        output_port: str = "output",
        distribution_strategy: DistributionStrategy = DistributionStrategy.ROUND_ROBIN,
        config: NodeConfig | None = None,
    ) -> None:
        validate_callable(worker_fn, 1)
        if is_coroutine_function(worker_fn):
            raise TypeError(f"node {name!r}: worker_fn is a coroutine function; use AsyncWorker for it")
        super().__init__(name, input_port, output_port, config)
        self._user_function = worker_fn
        self._pool_size = size(self, "pool_size", pool_size)
        self._limit = 2 * pool_size
        self._distribution_strategy = member(
            self, "distribution_strategy", distribution_strategy, DistributionStrategy
        )
        self._pool: ThreadPoolExecutor | None = None

    def on_start(self) -> None:
        """Open the pool, if this is a run."""
        super().on_start()
        if self._pool is None and running_loop() is not None:
            self._pool = ThreadPoolExecutor(self._pool_size, f"meridian-{self.name}")

    def on_stop(self) -> None:
        """Close the pool; calls that have begun go on, their results are dropped."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        super().on_stop()

    def _handle_data(self, msg: Message[Any]) -> None:
        if self._pool is None:
            result = self._safe_call_user_function(msg.payload, original_message=msg)
            if result is not None:
                self.emit(self._output_port, msg.with_payload(result))
        else:
            call_aside(self._pool, self._work, self._begin(msg))

    def _work(self, job: Job) -> None:
        assert self._user_function is not None
        self._finish(job, *call_in(job.scope(self.name), self._user_function, job.message.payload))


class AsyncWorker(BackgroundNode):
    """Awaits a coroutine function for each payload, several at a time, and emits what they return.

    Results leave in the order of their messages; so do CONTROL and ERROR messages. While ``max_concurrent`` messages are in
    work no more are taken. A stop drains: what is in work may end within ``shutdown_timeout_s``, then it is cancelled.
    Outside a running loop (in a `NodeTestHarness`, say) each message is worked on to its end at once.

    `AsyncMap` does the same with less, and can let results overtake each other.

    Args:
        name: Unique within its graph.
        async_fn: ``await async_fn(payload)``; ``None`` as result emits nothing.
        input_port: Name of the input.
        output_port: Name of the output.
        max_concurrent: Most calls at a time.
        config: Settings, among them what a failing call means.

    Raises:
        TypeError: ``max_concurrent`` is no int.
        ValueError: ``async_fn`` can't be called with a payload; ``max_concurrent`` is less than 1.

    Cancellation: a call that is cancelled from within fails its message only.

    Example:
        ```python
        import asyncio

        from meridian import Scheduler, graph, sink, source
        from meridian.nodes import AsyncWorker


        async def look_up(name):
            await asyncio.sleep(0.001)
            return name.upper()


        got = []
        scheduler = Scheduler()
        scheduler.register(
            graph("g", source("abc") >> AsyncWorker("look-up", look_up) >> sink(got.append))
        )
        scheduler.run()
        assert got == ["A", "B", "C"]
        ```
    """

    def __init__(
        self,
        name: str,
        async_fn: Callable[[Any], Awaitable[Any]],
        input_port: str = "input",
        output_port: str = "output",
        max_concurrent: int = 10,
        config: NodeConfig | None = None,
    ) -> None:
        validate_callable(async_fn, 1)
        super().__init__(name, input_port, output_port, config)
        self._user_function = async_fn
        self._limit = size(self, "max_concurrent", max_concurrent)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def on_stop(self) -> Any:
        """Cancel what is still in work, and wait for it."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        super().on_stop()
        return _ended(tasks) if tasks and running_loop() is not None else None

    def _handle_data(self, msg: Message[Any]) -> None:
        job = self._begin(msg)
        loop = running_loop()
        if loop is not None:
            task = loop.create_task(self._work(job), context=job.scope(self.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        self._loop.run_until_complete(self._loop.create_task(self._work(job), context=job.scope(self.name)))
        self._handle_tick()

    async def _work(self, job: Job) -> None:
        result: Any = None
        failure: BaseException | None = None
        assert self._user_function is not None
        try:
            result = await self._user_function(job.message.payload)
        except asyncio.CancelledError as error:
            if job not in self._jobs:  # a stop gave it up
                raise
            failure = error
        except Exception as error:  # noqa: BLE001 - the node's error policy decides
            failure = error
        self._finish(job, result, failure)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
