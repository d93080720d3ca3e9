"""One node by itself: put messages in, look at what comes out. No graph, no scheduler, no event loop needed."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meridian.core.function import NodeFunction
from meridian.core.message import Message, MessageType, Scope, current_scope
from meridian.testing.clock import VirtualLoop

if TYPE_CHECKING:
    from meridian.core.node import Node

BACKGROUND_S = 0.001
"""How long a tick lets background work go on."""


class NodeTestHarness:
    """Calls the hooks of one node and keeps what it emits.

    Everything is a plain call. Where a hook is ``async def``, the harness runs it to its end on a private loop in
    virtual time (`VirtualLoop`), so that a handler which sleeps for an hour returns at once; within a running loop use
    `send_async` and `trigger_tick_async` instead.

    There are no edges: nothing is ever full. ``on_start`` and ``on_stop`` are not called; call them yourself, as
    ``harness.run(node.on_start())`` if they are asynchronous. What the node raises reaches the caller.

    Args:
        node: A node, or a ``@node`` function.

    Attributes:
        node: The node.
    """

    def __init__(self, node: Node | NodeFunction[..., Any]) -> None:
        made: Any = node.node() if isinstance(node, NodeFunction) else node
        if not callable(getattr(made, "on_message", None)):
            raise TypeError(f"NodeTestHarness takes a node or a @node function, got {type(node).__name__}")
        self.node = made
        self._emitted: dict[str, list[Message[Any]]] = {}
        self._loop: VirtualLoop | None = None
        emit, emitted = made.emit, self._emitted

        def capture(port: str, msg: Message[Any]) -> Any:
            result = emit(port, msg)
            emitted.setdefault(port, []).append(msg)
            return result

        made.emit = capture

    # ---- in --------------------------------------------------------------------------------------------------

    def send_message(
        self,
        port: str,
        payload: Any,
        *,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        """Let the node handle a DATA message on ``port``."""
        self._send(port, Message(MessageType.DATA, payload, metadata, headers))

    def send_control(self, port: str, payload: Any = None) -> None:
        """Let the node handle a CONTROL message on ``port``."""
        self._send(port, Message(MessageType.CONTROL, payload))

    def send_error(self, port: str, error_payload: Any) -> None:
        """Let the node handle an ERROR message on ``port``."""
        self._send(port, Message(MessageType.ERROR, error_payload))

    def trigger_tick(self) -> None:
        """Call ``on_tick``, then give background work about a millisecond."""
        self.run(self.node.on_tick())
        if self._loop is not None and not _in_a_loop():
            self._loop.run_until_complete(asyncio.sleep(BACKGROUND_S))
        time.sleep(BACKGROUND_S)

    def _send(self, port: str, message: Message[Any]) -> None:
        self.run(self.node.on_message(port, message), message)

    # ---- in, within a running loop ---------------------------------------------------------------------------

    async def send_async(
        self,
        port: str,
        payload: Any,
        *,
        type: MessageType = MessageType.DATA,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        """Let the node handle a message on ``port`` in the running loop, and wait until it has."""
        message = Message(type, payload, metadata, headers)
        result = self.node.on_message(port, message)
        if inspect.isawaitable(result):
            token = current_scope.set(self._scope(message))
            try:
                await result
            finally:
                current_scope.reset(token)

    async def trigger_tick_async(self) -> None:
        """Call ``on_tick`` in the running loop, then give background work a millisecond of that loop's time."""
        result = self.node.on_tick()
        if inspect.isawaitable(result):
            await result
        await asyncio.sleep(BACKGROUND_S)

    # ---- out -------------------------------------------------------------------------------------------------

    def get_emitted_messages(self, port: str) -> list[Message[Any]]:
        """Return all that the node has emitted on ``port`` so far, in order; ``[]`` for a port it never used."""
        return list(self._emitted.get(port, ()))

    # ---- asynchronous hooks, driven from outside -------------------------------------------------------------

    def run(self, result: Any, handling: Message[Any] | None = None) -> Any:
        """Run what a hook returned to its end, on the private loop, if it is to be awaited; return its result.

        Args:
            result: A coroutine or another awaitable; anything else is only returned.
            handling: The message in hand, whose trace is inherited by what is emitted.

        Raises:
            RuntimeError: a loop is running in this thread.
            DeadlockError: it waits for something that can't happen any more.
        """
        if not inspect.isawaitable(result):
            return result
        if _in_a_loop():
            if inspect.iscoroutine(result):
                result.close()
            raise RuntimeError(
                f"node {self.node.name!r} is asynchronous and a loop is running: await harness.send_async(...) or "
                "harness.trigger_tick_async()"
            )
        loop = self._loop
        if loop is None:
            loop = self._loop = VirtualLoop()
            weakref.finalize(self, _close, loop)
        context = contextvars.copy_context()
        context.run(current_scope.set, self._scope(handling))
        return loop.run_until_complete(loop.create_task(_await(result), context=context))

    def _scope(self, handling: Message[Any] | None) -> Scope:
        scope = Scope()
        scope.handling, scope.node = handling, self.node.name
        return scope

    def __repr__(self) -> str:
        return f"<NodeTestHarness of {self.node!r}>"


async def _await(result: Any) -> Any:
    return await result


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _close(loop: VirtualLoop) -> None:
    """End what a node has left running, and close its loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks and not _in_a_loop():
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
