"""HttpClientNode: a request for each message."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from meridian.nodes.arguments import positive, size, wrong
from meridian.nodes.background import BackgroundNode, Job, running_loop
from meridian.nodes.network.errors import HttpError, NetworkError

if TYPE_CHECKING:
    from meridian.core.message import Message
    from meridian.nodes.base import NodeConfig
    from meridian.nodes.network.http_exchange import Exchange

__all__ = ["HttpClientNode"]


class HttpClientNode(BackgroundNode):
    """Sends an HTTP request for each DATA message, and emits the response.

    A payload is a dict: ``url``, and if need be ``method`` (GET by default), ``headers`` and ``body``. Bytes are sent as they
    are, any other body as JSON; a ``Content-Type`` of your own stays. The response is
    ``{"status": int, "body": str, "headers": dict}``, with the trace of the message that asked for it; its charset is
    the one that it declares, UTF-8 without one. A status from 400 up, and whatever else goes wrong, follows the error
    policy as an `HttpError`, which names neither the URL nor contents. CONTROL and ERROR are forwarded.

    Without a run the response has been emitted when ``on_message`` returns. In a run requests are made in threads, so
    that other nodes go on, and the input waits while ``max_concurrent`` of them are under way. Order is kept, with CONTROL
    and ERROR too. A run that is aborted breaks off what is under way, and counts it as failed.

    Only ``http`` and ``https`` are spoken; CR and LF in headers are refused; redirects are followed, to another origin without
    credentials. Proxies are those of the environment. Each request has a connection of its own.

    Args:
        name: Unique within its graph.
        base_url: What a relative ``url`` is joined to, as a browser does it.
        input_port: Name of the input.
        output_port: Name of the output.
        timeout_seconds: Most seconds to connect, to wait for the response's head, and for all of it.
        config: Settings; default ones if left out.
        max_concurrent: Most requests at a time, in a run.
        max_body: Most bytes of a response's body; a longer one is a failure.

    Raises:
        TypeError: a setting is of a wrong type.
        ValueError: a setting is out of its range.

    Example:
        ```python
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer
        from meridian.nodes import HttpClientNode, NodeTestHarness


        class Hello(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello")

            def log_message(self, *args):
                pass


        with HTTPServer(("127.0.0.1", 0), Hello) as server:
            threading.Thread(target=server.handle_request).start()
            client = NodeTestHarness(
                HttpClientNode("client", f"http://127.0.0.1:{server.server_port}")
            )
            client.send_message("input", {"url": "/greeting"})
        (response,) = client.get_emitted_messages("output")
        assert (response.payload["status"], response.payload["body"]) == (200, "hello")
        ```
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        input_port: str = "input",
        output_port: str = "output",
        timeout_seconds: float = 30,
        config: NodeConfig | None = None,
        *,
        max_concurrent: int = 1,
        max_body: int = 64 << 20,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._limit = size(self, "max_concurrent", max_concurrent)
        if base_url is not None and not isinstance(base_url, str):
            raise wrong(TypeError, self, "base_url", base_url, "text")
        self._base_url = base_url
        self._timeout = positive(self, "timeout_seconds", timeout_seconds)
        self._max_body = size(self, "max_body", max_body)
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[asyncio.Future[Any], Exchange] = {}

    def on_start(self) -> None:
        """Make the threads' pool, in a run."""
        super().on_start()
        if running_loop() is not None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix=f"meridian-{self.name}")
            self.tick_in(0)  # a shutdown waits for those that asked for ticks

    def _handle_data(self, msg: Message[Any]) -> None:
        if self._pool is None:
            self._ask(msg)
        else:
            self._ask_in_thread(self._pool, msg)

    def _exchange(self, payload: Any) -> Exchange:
        from meridian.nodes.network.http_exchange import Exchange

        return Exchange(payload, self._base_url, self._timeout, self._max_body)

    def _ask(self, msg: Message[Any]) -> None:
        try:
            response = self._exchange(msg.payload).run()
        except HttpError as error:
            self._handle_failure(error, msg)
        else:
            self.emit(self._output_port, msg.with_payload(response))

    def _ask_in_thread(self, pool: ThreadPoolExecutor, msg: Message[Any]) -> None:
        job = self._begin(msg)
        try:
            exchange = self._exchange(msg.payload)
        except HttpError as error:
            self._finish(job, error=error)
            return
        future = asyncio.get_running_loop().run_in_executor(pool, exchange.run)
        self._under_way[future] = exchange
        future.add_done_callback(partial(self._answered, job))

    def _answered(self, job: Job, future: asyncio.Future[Any]) -> None:
        del self._under_way[future]
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._finish(job, future.result())
        elif isinstance(error, Exception):
            self._finish(job, error=error)

    def on_stop(self) -> Any:
        """Emit the responses that are there, break off the other requests, and count them as failed."""
        pool, self._pool = self._pool, None
        if pool is None:
            return super().on_stop()
        self._handle_tick()
        futures = list(self._under_way)
        for exchange in self._under_way.values():
            exchange.abort()
        for job in self._jobs:
            self.record_error(job.error or NetworkError("the run stopped before there was a response"))
        pool.shutdown(wait=False, cancel_futures=True)
        super().on_stop()
        return _ended(futures) if futures else None


async def _ended(futures: list[asyncio.Future[Any]]) -> None:
    """Wait until aborted requests have ended; not for long, as one that still connects can't be broken off."""
    await asyncio.wait(futures, timeout=1)
