"""Work that goes on beside the run, in threads or tasks; its results leave in the order in which the messages came."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError
from meridian.core.message import Message, Scope, current_scope
from meridian.nodes.base import NodeConfig, PipeNode
from meridian.observability.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

__all__ = ["BackgroundNode", "Job"]


class Job:
    """One message in work.

    Attributes:
        message: The message.
        reply: What is to be emitted for it, if anything.
        error: Why there is none.
        is_done: Its work has ended; set last, so that another thread may look at it.
    """

    __slots__ = ("error", "is_done", "message", "reply")

    def __init__(self, message: Message[Any]) -> None:
        self.message = message
        self.reply: Message[Any] | None = None
        self.error: BaseException | None = None
        self.is_done = False

    def scope(self, node: str) -> contextvars.Context:
        """Return a context of its own, in which new messages and log lines carry this message's trace."""
        context = contextvars.copy_context()
        scope = Scope()
        scope.handling, scope.node = self.message, node
        context.run(current_scope.set, scope)
        return context


class BackgroundNode(PipeNode):
    """The base of nodes whose work takes time.

    A subclass calls `_begin` for a message, works, and calls `_finish`, from any thread. Results are emitted by the
    node's tick, which `_finish` asks for, in the order of `_begin`: a slow message holds back those behind it. While
    ``_limit`` messages are in work, or wait for one before them, no more are taken, so edges fill and producers wait.

    Args:
        name: Unique within its graph.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
    """

    regular_ticks = False

    _limit = 1

    def __init__(
        self, name: str, input_port: str, output_port: str, config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._jobs: deque[Job] = deque()

    def _begin(self, message: Message[Any]) -> Job:
        """Take ``message`` into work."""
        job = Job(message)
        self._jobs.append(job)
        if len(self._jobs) >= self._limit:
            self.pause()
        return job

    def _finish(self, job: Job, result: Any = None, error: BaseException | None = None) -> None:
        """End the work on a message; ``None`` as result emits nothing."""
        if error is not None:
            job.error = error
        elif result is not None:
            job.reply = job.message.with_payload(result)
        job.is_done = True
        self.tick_in(0)

    def _pass_on(self, msg: Message[Any]) -> None:
        """Emit a message that isn't worked on, behind those that came before it."""
        if not self._jobs:
            super()._pass_on(msg)
            return
        job = self._begin(msg)
        job.reply = msg
        job.is_done = True

    def _handle_tick(self) -> None:
        jobs = self._jobs
        while jobs and jobs[0].is_done:
            job = jobs[0]
            if job.error is not None:
                jobs.popleft()
                self._go_on()
                self._handle_failure(job.error, job.message)
                continue
            if job.reply is not None:
                try:
                    self.emit(self._output_port, job.reply)
                except BackpressureError:
                    self.tick_in(0)  # comes when what is parked has been delivered
                    return
            jobs.popleft()
        self._go_on()

    def _go_on(self) -> None:
        """Take messages again if there is room; see to it that what is done already leaves, whatever happens next."""
        if self._jobs and self._jobs[0].is_done:
            self.tick_in(0)
        if len(self._jobs) < self._limit:
            self.resume()

    def has_pending(self) -> bool | None:
        """Say whether messages are in work."""
        return bool(self._jobs)

    def on_stop(self) -> Any:
        """Let go of what is still in work, and say how much that was."""
        if self._jobs:
            get_logger().warn(
                "function_node.abandoned", "stopped with work in progress", node=self.name, n=len(self._jobs)
            )
            self._jobs.clear()
        return super().on_stop()


def call_in(context: contextvars.Context, fn: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Call ``fn`` in ``context``; return its result and what it raised."""
    try:
        return context.run(fn, *args), None
    except Exception as error:  # noqa: BLE001 - the node's error policy decides, on the node's own thread
        return None, error


def call_aside(executor: Executor, fn: Callable[..., Any], *args: Any) -> None:
    """Call ``fn``, which never raises, in a thread; the running loop, if there is one, knows of it."""
    loop = running_loop()
    if loop is None:
        executor.submit(fn, *args)
    else:
        loop.run_in_executor(executor, fn, *args)  # so that virtual time stands still meanwhile


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
