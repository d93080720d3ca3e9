"""A connection that a node keeps up: with what is to be sent kept until it was, and made anew when it breaks.

The conversation itself is a coroutine in a task beside the run. It neither sleeps nor calls back into the graph except by
`Node.send`, which waits for room. What has to happen in a hook (taking data again, the next attempt, a failure that the
error policy is asked about) happens in the node's tick, which the task asks for.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any

from meridian.nodes.background import running_loop
from meridian.nodes.network.errors import NetworkError
from meridian.observability.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meridian.core.message import Message
    from meridian.nodes.base import FunctionNode

__all__ = ["Link"]


_PATIENCE_S = 0.1
"""Seconds after which a conversation that goes on although it was cancelled is cancelled once more."""


class Link:
    """What the hooks of a node with a connection call.

    Args:
        node: The node.
        talk: One conversation, from connecting on. Returns when the other side ended it in good order, raises when it
            broke. It calls `up` once connected, `progressed` when something came, takes what is to be sent from `waiting`, and
            confirms it with `sent`.
        listens: Whether messages may come in; if not, only what is still to be sent keeps a run alive.
        buffer: Most messages to be sent that are held here; beyond it the node is paused.
        first_wait_s: Seconds before the second attempt; doubles with each further one.
        longest_wait_s: Upper bound of that, in seconds.
        max_attempts: How many failures in a row end the attempts; ``None`` for no end.

    Attributes:
        attempts: Failures in a row so far; a connection that did something, or stood for ``longest_wait_s``, ends a row.
    """

    def __init__(
        self,
        node: FunctionNode,
        talk: Callable[[], Awaitable[None]],
        *,
        listens: bool,
        buffer: int,
        first_wait_s: float,
        longest_wait_s: float,
        max_attempts: int | None,
    ) -> None:
        self._node = node
        self._talk = talk
        self._listens = listens
        self._buffer = buffer
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._max_attempts = max_attempts
        self._outgoing: deque[tuple[Message[Any], Any]] = deque()
        self._failures: deque[tuple[Exception, Message[Any] | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._gave_up: NetworkError | None = None
        self._open = False
        self._finished = False
        self._retry_at = 0.0
        self._up_at: float | None = None
        self.attempts = 0

    # ---- called by hooks -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, in ``on_start``.

        Raises:
            RuntimeError: no event loop is running: a connection needs a run.
        """
        if running_loop() is None:
            raise RuntimeError(f"node {self._node.name!r} has a real connection, which only works in a run")
        self._changed = asyncio.Event()
        self._context = contextvars.copy_context()
        self._gave_up = None
        self._open = True
        self.attempts = 0
        self._connect()

    def put(self, message: Message[Any], item: Any) -> None:
        """Take ``item`` to be sent for ``message``; beyond the bound the node takes no more data.

        Raises:
            NetworkError: there will be no further attempt.
        """
        if self._gave_up is not None:
            raise self._gave_up
        self._outgoing.append((message, item))
        if len(self._outgoing) >= self._buffer:
            self._node.pause()
        if self._open:
            self._changed.set()
            if self._finished:
                self._node.tick_in(0)

    def tick(self) -> None:
        """Do what has to happen in a hook."""
        node = self._node
        if len(self._outgoing) < self._buffer:
            node.resume()
        if self._open and self._task is None and self._gave_up is None:
            wait = self._retry_at - node.now()
            if wait > 0:
                node.tick_in(wait)
            elif self._outgoing or not self._finished:
                self._connect()
        if self._failures:
            error, message = self._failures.popleft()
            if self._failures:
                node.tick_in(0)  # whatever the policy does with this one
            node._handle_failure(error, message)

    def has_pending(self) -> bool:
        """Say whether a run must go on for it."""
        if not self._open:
            return False
        listening = self._listens and not self._finished and self._gave_up is None
        return bool(listening or self._outgoing or self._failures)

    async def drain(self) -> None:
        """Wait until everything was sent, then end the conversation."""
        while self._open and self._outgoing and self._gave_up is None:
            self._changed.clear()
            await self._changed.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the conversation; what wasn't sent stays for the next run, and is counted as a failure."""
        if not self._open:
            return
        self._open = False
        task, self._task = self._task, None
        if task is not None:
            while not task.done():  # libraries exist that swallow a cancellation
                task.cancel()
                await asyncio.wait([task], timeout=_PATIENCE_S)
        while self._failures:
            self._node.record_error(self._failures.popleft()[0])
        if self._outgoing:
            self._node.record_error(
                NetworkError(f"{len(self._outgoing)} messages were not sent when the run stopped")
            )

    # ---- called by the conversation --------------------------------------------------------------------------

    def up(self) -> None:
        """The connection stands. That alone proves nothing: one that breaks at once again counts as a failure in the row."""
        self._up_at = self._node.now()

    def progressed(self) -> None:
        """A message went or came: the row of failures is over."""
        self.attempts = 0

    async def waiting(self, most: int) -> list[Any]:
        """Return what is to be sent next, up to ``most`` items, as soon as there is one; they stay until `sent`."""
        while not self._outgoing:
            self._changed.clear()
            await self._changed.wait()
        return [self._outgoing[i][1] for i in range(min(most, len(self._outgoing)))]

    def sent(self, n: int = 1) -> None:
        """The first ``n`` items were sent."""
        self.progressed()
        was_full = len(self._outgoing) >= self._buffer
        for _ in range(n):
            self._outgoing.popleft()
        self._changed.set()
        if was_full or not self._outgoing:
            self._node.tick_in(0)  # takes data again; and lets the run see that nothing is left

    def fail(self, error: Exception, message: Message[Any] | None = None) -> None:
        """Let the error policy decide about a message."""
        self._failures.append((error, message))
        self._node.tick_in(0)

    # ---- the task --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._finished = False
        self._task = loop.create_task(self._converse(), context=self._context.copy())

    async def _converse(self) -> None:
        try:
            await self._talk()
            self._finished = True
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the connection is gone
            self._lost(error)
        finally:
            self._task = None
            self._changed.set()
            self._node.tick_in(0)

    def _lost(self, error: Exception) -> None:
        if self._up_at is not None and self._node.now() - self._up_at >= self._longest_wait_s:
            self.progressed()
        self.attempts += 1
        self._up_at = None
        reason = str(error) if isinstance(error, NetworkError) else type(error).__name__
        if self._max_attempts is not None and self.attempts >= self._max_attempts:
            self._gave_up = NetworkError(f"no connection after {self.attempts} attempts: {reason}")
            self._failures.append((self._gave_up, None))
            self._failures.extend((self._gave_up, message) for message, _ in self._outgoing)
            self._outgoing.clear()
            return
        wait = min(self._first_wait_s * 2 ** min(self.attempts - 1, 60), self._longest_wait_s)
        self._retry_at = self._node.now() + wait
        get_logger().warn(
            "network.connection_lost", "the connection broke, or could not be made",
            node=self._node.name, reason=reason, attempt=self.attempts, retry_in_s=wait,
        )  # fmt: skip
