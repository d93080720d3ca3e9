"""HttpServerNode: a message for each request."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from meridian.core.errors import ClosedError
from meridian.core.message import Message, MessageType
from meridian.nodes.arguments import positive, size, whole
from meridian.nodes.base import FunctionNode, NodeConfig, setup_standard_ports
from meridian.nodes.extras import load
from meridian.nodes.network.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpServerNode"]

CHUNK = 1 << 16
"""Bytes of a body that are read at a time."""

_PATIENCE_S = 1.0
"""Most seconds for answers that are being written when the server closes."""

_TEXT = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")


class HttpServerNode(FunctionNode):
    """Emits a DATA message for each HTTP request: ``{"method", "path", "body", "headers"}``.

    As in v1 there is no server unless you give a ``host``: `simulate_request` is how requests come then.

    With a ``host`` (extra ``http``) a run serves from its start until it is shut down. ``path`` is what the client asked
    for, query included; ``body`` is text for the usual textual types, if it is in the charset they declare (UTF-8 by
    default), bytes for the rest, and ``None`` where there is none. A request is answered with ``reply_status`` once the
    graph has taken it, which is not to say that it was handled. While the edges are full, requests wait:

    * beyond ``max_waiting`` requests at a time the answer is 503 with ``Retry-After``;
    * so it is when there was no room within ``timeout_seconds``, or when the run ends;
    * a body longer than ``max_body`` gets 413, one that doesn't arrive in time 408.

    A client that goes away while its request waits takes it back. Memory is bounded by ``max_waiting`` bodies.

    Args:
        name: Unique within its graph.
        output_port: Name of the output.
        config: Settings; default ones if left out.
        host: Address to listen on, such as ``"127.0.0.1"``; ``None`` for no server.
        port: Port to listen on; 0 for any free one, see `bound_port`.
        max_body: Most bytes of a body.
        max_waiting: Most requests that are being received or wait for room.
        timeout_seconds: Most seconds that a request takes to arrive and to find room.
        reply_status: Status of the answer to a request that was taken.

    Raises:
        TypeError: a setting is of a wrong type.
        ValueError: a setting is out of its range.
        MissingExtraError: a ``host``, but aiohttp isn't installed.

    Example:
        ```python
        from meridian.nodes import HttpServerNode, NodeTestHarness

        server = HttpServerNode("server")
        harness = NodeTestHarness(server)
        server.simulate_request("post", "/orders?dry=1", {"id": 7})
        (message,) = harness.get_emitted_messages("output")
        assert message.payload["method"] == "POST"
        assert message.payload["body"] == {"id": 7}
        ```
    """

    def __init__(
        self,
        name: str,
        output_port: str = "output",
        config: NodeConfig | None = None,
        *,
        host: str | None = None,
        port: int = 0,
        max_body: int = 1 << 20,
        max_waiting: int = 64,
        timeout_seconds: float = 30,
        reply_status: int = 202,
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        self._output_port = output_port
        self._host = host
        self._port = whole(self, "port", port, 0, 65535)
        self._max_body = size(self, "max_body", max_body)
        self._max_waiting = size(self, "max_waiting", max_waiting)
        self._timeout = positive(self, "timeout_seconds", timeout_seconds)
        self._reply_status = whole(self, "reply_status", reply_status, 200, 299)
        self._web: Any = None if host is None else load("aiohttp.web", "http", f"node {name!r} with a host")
        self.regular_ticks = self._web is None  # the runtime's mark of a node whose end nobody knows
        self._runner: Any = None
        self._site: Any = None
        self._waiting: set[asyncio.Timeout] = set()
        self._started: list[asyncio.Future[None]] = []
        self.bound_port: int | None = None
        """The port it serves on, while it does."""

    # ---- v1: no server -----------------------------------------------------------------------------------------

    def simulate_request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, Any] | None = None
    ) -> None:
        """Emit a request as if it had come; from any thread.

        Args:
            method: Becomes upper case.
            path: As it is.
            body: Anything.
            headers: A mapping; none by default.

        Raises:
            BackpressureError: no room, and as many requests as a node may park wait already; it was not accepted, so
                try again later.
        """
        self.emit(self._output_port, self._message(method, path, body, dict(headers or {})))

    def _message(self, method: str, path: str, body: Any, headers: dict[str, Any]) -> Message[Any]:
        request = {"method": method.upper(), "path": path, "body": body, "headers": headers}
        return Message(MessageType.DATA, request)

    # ---- hooks ---------------------------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Start to serve, if there is a host."""
        super().on_start()
        return None if self._web is None else self._serve()

    def _handle_tick(self) -> None:
        """There is nothing to do; a node that ticks is asked whether it has something pending."""

    def has_pending(self) -> bool | None:
        """Say whether it serves; where requests are simulated nobody knows whether more will come."""
        return None if self._web is None else self._site is not None

    def on_drain(self) -> Any:
        """Listen no longer; requests that wait still find room, or are turned away when their time is over."""
        return None if self._site is None else self._finish_waiting()

    def on_stop(self) -> Any:
        """Turn away what still waits, and close all connections."""
        super().on_stop()
        return None if self._runner is None else self._close()

    async def wait_serving(self) -> int:
        """Wait until a run in this event loop has begun to serve; return the port.

        Cancellation: nothing is lost.
        """
        if self.bound_port is None:
            started = asyncio.get_running_loop().create_future()
            self._started.append(started)
            try:
                await started
            finally:
                self._started.remove(started)
        assert self.bound_port is not None
        return self.bound_port

    # ---- the server ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        web = self._web
        # A client that goes away cancels its handler, and thereby the wait for room.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=_PATIENCE_S)
        self._none_waits = asyncio.Event()
        try:
            await runner.setup()
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except OSError as error:  # the system's text has the address
            await self._close()
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else type(error).__name__
            raise NetworkError(number, f"node {self.name!r} can't listen: {reason}") from error
        except BaseException:
            await self._close()
            raise
        self._site = site
        self.bound_port = runner.addresses[0][1]
        for started in self._started:
            if not started.done():
                started.set_result(None)

    async def _stop_listening(self) -> None:
        site, self._site = self._site, None
        self.bound_port = None
        if site is not None:
            await site.stop()

    async def _finish_waiting(self) -> None:
        await self._stop_listening()
        while self._waiting:
            self._none_waits.clear()
            await self._none_waits.wait()

    async def _close(self) -> None:
        await self._stop_listening()
        for limit in self._waiting:
            with suppress(RuntimeError):  # it is over already
                limit.reschedule(0)
        runner, self._runner = self._runner, None
        await runner.cleanup()

    async def _handle(self, request: Any) -> Any:
        if self._site is None or len(self._waiting) >= self._max_waiting:
            return self._unavailable()
        limit = asyncio.timeout(self._timeout)
        self._waiting.add(limit)
        try:
            return await self._take(request, limit)
        finally:
            self._waiting.discard(limit)
            if not self._waiting:
                self._none_waits.set()

    async def _take(self, request: Any, limit: asyncio.Timeout) -> Any:
        received = False
        try:
            async with limit:
                raw = await self._body(request)
                received = True
                if raw is None:
                    return self._answer(413)
                message = self._message(
                    request.method, request.raw_path, _decoded(raw, request), _joined(request.headers)
                )
                await self.send(self._output_port, message)
        except TimeoutError:
            return self._unavailable() if received or self._site is None else self._answer(408)
        except ClosedError:  # the run ended meanwhile
            return self._unavailable()
        return self._answer(self._reply_status)

    async def _body(self, request: Any) -> bytes | None:
        """Return the body, or ``None`` if it is too long."""
        if (request.content_length or 0) > self._max_body:
            return None
        parts: list[bytes] = []
        total = 0
        async for part in request.content.iter_chunked(CHUNK):
            total += len(part)
            if total > self._max_body:
                return None
            parts.append(part)
        return b"".join(parts)

    def _answer(self, status: int, **headers: str) -> Any:
        assert self._web is not None
        return self._web.Response(status=status, headers=headers)

    def _unavailable(self) -> Any:
        return self._answer(503, **{"Retry-After": "1"})


def _decoded(raw: bytes, request: Any) -> str | bytes | None:
    if not raw:
        return None
    kind: str = request.content_type
    if not (kind.startswith(_TEXT) or kind.endswith(("+json", "+xml"))):
        return raw
    try:
        return raw.decode(request.charset or "utf-8")
    except (LookupError, UnicodeError):
        return raw


def _joined(headers: Any) -> dict[str, str]:
    made: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in headers.items():
        first = names.setdefault(name.lower(), name)
        made[first] = f"{made[first]}, {value}" if first in made else value
    return made
