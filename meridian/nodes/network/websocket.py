"""WebSocketNode: messages out as frames, frames in as messages."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meridian.core.message import Message, MessageType
from meridian.nodes.arguments import positive, size
from meridian.nodes.base import NodeConfig, PipeNode
from meridian.nodes.extras import load
from meridian.nodes.network.errors import NetworkError
from meridian.nodes.network.link import Link
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WebSocketNode"]

REMEMBERED = 10_000
"""How many inputs a simulated node remembers."""

NORMAL_CLOSURE = 1000


class WebSocketNode(PipeNode):
    """Talks over a WebSocket.

    As in v1 it only pretends to unless you say ``connect=True``: DATA inputs are recorded in `sent`, the newest 10,000 of
    them, and `simulate_incoming` emits what is to have come. CONTROL and ERROR are forwarded.

    With ``connect=True`` (extra ``http``) a run connects to ``url``. Text and bytes are sent as frames of their kind, anything
    else as JSON text; each frame that comes is emitted as DATA, text or bytes. While the output's edge is full nothing is
    read, so that the other side has to wait; while ``buffer`` messages wait to be sent, the input does.

    A connection that breaks is made anew, after ``first_wait_s``, then twice as long each time up to ``longest_wait_s``.
    A message leaves the buffer when the frame was handed to the connection, so that what is on its way when it breaks is lost
    unless the other side's protocol notices. After ``max_attempts`` failures in a row the node gives up: that failure, and
    each message that can't be sent, follows the error policy. A closure by the other side with code 1000 is the end, unless
    there is more to send. Until then the run goes on; a shutdown sends what is in the buffer, then closes.

    Args:
        name: Unique within its graph.
        url: ``ws://`` or ``wss://`` (only looked at with ``connect=True``).
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
        connect: Whether to connect really.
        headers: What to send along when connecting.
        buffer: Most messages held to be sent.
        max_frame: Most bytes of an incoming frame; a longer one breaks the connection.
        heartbeat_s: Seconds between pings, a missing answer breaks the connection; ``None`` for none.
        first_wait_s: Seconds before the second attempt to connect.
        longest_wait_s: Most seconds between two attempts.
        max_attempts: Failures in a row that end the attempts; ``None`` for no end.

    Raises:
        TypeError: a setting is of a wrong type.
        ValueError: a setting is out of its range, or ``url`` is none of a WebSocket.
        MissingExtraError: ``connect=True``, but aiohttp isn't installed.

    Example:
        ```python
        from meridian.nodes import NodeTestHarness, WebSocketNode

        socket = WebSocketNode("socket", "wss://example.org/feed")
        harness = NodeTestHarness(socket)
        harness.send_message("input", "subscribe")
        socket.simulate_incoming({"price": 42})
        assert list(socket.sent) == ["subscribe"]
        assert [message.payload for message in harness.get_emitted_messages("output")] == [
            {"price": 42}
        ]
        ```
    """

    def __init__(
        self,
        name: str,
        url: str,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
        *,
        connect: bool = False,
        headers: Mapping[str, str] | None = None,
        buffer: int = 64,
        max_frame: int = 4 << 20,
        heartbeat_s: float | None = 30,
        first_wait_s: float = 0.1,
        longest_wait_s: float = 30,
        max_attempts: int | None = 10,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self.url = url
        self._headers = dict(headers or {})
        self._max_frame = size(self, "max_frame", max_frame)
        self._heartbeat_s = None if heartbeat_s is None else positive(self, "heartbeat_s", heartbeat_s)
        self.regular_ticks = not connect  # the runtime's mark of a node whose end nobody knows
        self._link: Link | None = None
        self.sent: deque[Any] = deque(maxlen=REMEMBERED)
        """Payloads of the DATA inputs so far, while the connection is simulated."""
        if connect:
            if urlsplit(url).scheme not in ("ws", "wss", "http", "https"):
                raise ValueError(f"node {name!r}: connect=True needs a url of ws:// or wss://")
            self._aiohttp = load("aiohttp", "http", f"node {name!r} with connect=True")
            self._link = Link(
                self,
                self._talk,
                listens=True,
                buffer=size(self, "buffer", buffer),
                first_wait_s=positive(self, "first_wait_s", first_wait_s),
                longest_wait_s=positive(self, "longest_wait_s", longest_wait_s),
                max_attempts=None if max_attempts is None else size(self, "max_attempts", max_attempts),
            )

    def simulate_incoming(self, payload: Any) -> None:
        """Emit ``payload`` as if it had come; from any thread.

        Raises:
            BackpressureError: no room, and as many messages as a node may park wait already; it was not accepted, so
                try again later.
        """
        self.emit(self._output_port, Message(MessageType.DATA, payload))

    # ---- hooks ---------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Connect, if it is to be real."""
        super().on_start()
        if self._link is not None:
            self._link.start()

    def _handle_data(self, msg: Message[Any]) -> None:
        if self._link is None:
            self.sent.append(msg.payload)
        else:
            try:
                self._link.put(msg, _frame(msg.payload))
            except NetworkError as error:
                self._handle_failure(error, msg)

    def _handle_tick(self) -> None:
        if self._link is not None:
            self._link.tick()

    def has_pending(self) -> bool | None:
        """Say whether something may come or is to be sent; where that is simulated nobody knows."""
        return None if self._link is None else self._link.has_pending()

    def on_drain(self) -> Any:
        """Send what is in the buffer, then close."""
        return None if self._link is None else self._link.drain()

    def on_stop(self) -> Any:
        """Close."""
        super().on_stop()
        return None if self._link is None else self._link.stop()

    # ---- the conversation ------------------------------------------------------------------------------------------

    async def _talk(self) -> None:
        link, aiohttp = self._link, self._aiohttp
        assert link is not None
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.ws_connect(
                self.url, heartbeat=self._heartbeat_s, max_msg_size=self._max_frame + 1
            ) as socket,
        ):
            link.up()
            both = [
                asyncio.ensure_future(self._receive(link, socket)),
                asyncio.ensure_future(self._send_frames(link, socket)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                outcomes = await asyncio.gather(*both, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome

    async def _receive(self, link: Link, socket: Any) -> None:
        async for frame in socket:
            if frame.type not in (self._aiohttp.WSMsgType.TEXT, self._aiohttp.WSMsgType.BINARY):
                raise NetworkError("the other side sent something that is no frame")
            await self.send(self._output_port, Message(MessageType.DATA, frame.data))
            link.progressed()
        if socket.close_code != NORMAL_CLOSURE:
            raise NetworkError(f"closed with code {socket.close_code}")

    async def _send_frames(self, link: Link, socket: Any) -> None:
        while True:
            (frame,) = await link.waiting(1)
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            else:
                await socket.send_str(frame)
            link.sent()


def _frame(payload: Any) -> str | bytes:
    """Return what to send for ``payload``.

    Raises:
        NetworkError: nothing can be sent for it.
    """
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    if isinstance(payload, str):
        return payload
    try:
        return json.dumps(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise NetworkError(
            f"{type_name(payload)} is neither text, bytes nor something that JSON can say"
        ) from error
