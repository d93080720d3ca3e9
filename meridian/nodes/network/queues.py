"""MessageQueueNode: one end of a queue, in this process or in Redis."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError
from meridian.nodes.arguments import size
from meridian.nodes.background import running_loop
from meridian.nodes.base import FunctionNode, NodeConfig, setup_standard_ports
from meridian.nodes.network.errors import NetworkError
from meridian.nodes.network.link import Link
from meridian.nodes.network.local_queue import LocalQueue, local_queue
from meridian.nodes.network.redis_stream import RedisSettings, RedisStream, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meridian.core.message import Message

__all__ = ["MessageQueueNode"]

AT_A_TIME = 64
"""Most messages that a consumer takes in one tick of a run."""


class MessageQueueNode(FunctionNode):
    """One end of a queue: a producer puts its DATA inputs in, a consumer emits them as DATA.

    Messages between two nodes of this name and type keep their order and their traces; several consumers share them. A
    producer ignores what isn't DATA.

    **In this process**, as in v1, whatever ``queue_type`` says: all nodes with the same ``"<queue_type>:<queue_name>"`` share
    one queue, which lives as long as the process. It is bounded by ``connection_config["maxsize"]``, 10,000 if nobody said
    otherwise (the last to say so counts): while it is full, the producer pauses, and the edges before it fill. A consumer
    takes a message when there is room for it behind the one before. It wakes as something comes; called by hand, without a
    run, it emits one message for each tick, as in v1. Whether more will come nobody knows, so a run with a consumer ends as
    one with endless tickers does.

    **In Redis** (extra ``redis``), only with ``queue_type="redis"`` *and* a ``"url"`` in ``connection_config``; v1 never
    connected anywhere, so without that key such a node stays in this process. The queue is the stream ``queue_name``, payloads
    are JSON (so that tuples come as lists, and what JSON can't say follows the error policy). The other keys are those of
    `RedisSettings`: ``group``, ``consumer``, ``maxlen``, ``keep`` and more. Delivery is *at least once*: a producer holds a message
    until Redis has confirmed it, and a consumer confirms it to Redis after the graph has taken it; when either breaks in
    between, the message comes twice. A connection that breaks is made anew, with growing waits. A consumer keeps its run
    alive until a shutdown. How much survives a crash of Redis itself is Redis's setting (``appendfsync``).

    Args:
        name: Unique within its graph.
        queue_type: Any text; part of the queue's name.
        connection_config: See above.
        queue_name: Name of the queue.
        mode: ``"producer"`` or ``"consumer"``.
        input_port: Name of the producer's input.
        output_port: Name of the consumer's output.
        config: Settings; default ones if left out.

    Raises:
        ValueError: a mode, or a setting, that there isn't.
        MissingExtraError: Redis is to be used, but redis isn't installed.

    Example:
        ```python
        from meridian.nodes import MessageQueueNode, NodeTestHarness

        producer = NodeTestHarness(
            MessageQueueNode("in", "memory", {}, "orders", mode="producer")
        )
        consumer = NodeTestHarness(
            MessageQueueNode("out", "memory", {}, "orders", mode="consumer")
        )
        producer.send_message("input", {"id": 7})
        consumer.trigger_tick()
        assert [message.payload for message in consumer.get_emitted_messages("output")] == [
            {"id": 7}
        ]
        ```
    """

    def __init__(
        self,
        name: str,
        queue_type: str,
        connection_config: Mapping[str, Any],
        queue_name: str,
        mode: str = "producer",
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        if mode not in ("producer", "consumer"):
            raise ValueError(f"node {name!r}: mode={mode!r} must be 'producer' or 'consumer'")
        produces = mode == "producer"
        ports = (
            setup_standard_ports([input_port], None)
            if produces
            else setup_standard_ports(None, [output_port])
        )
        super().__init__(name, *ports, config)
        settings = dict(connection_config or {})
        self._input_port = input_port
        self._end: _End
        if queue_type == "redis" and "url" in settings:
            redis = RedisSettings.read(self, settings)
            stream = RedisStream(name, queue_name, redis)
            self.regular_ticks = False
            self._end = _RedisEnd(self, stream, redis, None if produces else output_port)
        else:
            maxsize = settings.get("maxsize")
            if maxsize is not None:
                size(self, "connection_config['maxsize']", maxsize)
            queue = local_queue(f"{queue_type}:{queue_name}", maxsize)
            self._end = _Producer(self, queue) if produces else _Consumer(self, queue, output_port)

    def on_start(self) -> None:
        """Take part in the queue."""
        super().on_start()
        self._end.start()

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port == self._input_port and msg.is_data():
            self._end.put(msg)

    def _handle_tick(self) -> None:
        self._end.tick()

    def has_pending(self) -> bool | None:
        """Say whether something is under way; of a consumer in this process nobody knows whether more will come."""
        return self._end.has_pending()

    def on_drain(self) -> Any:
        """Let Redis have what it hasn't confirmed yet, or read no more from it."""
        return self._end.drain()

    def on_stop(self) -> Any:
        """Leave the queue."""
        super().on_stop()
        return self._end.stop()


class _End:
    """What a node does at its end of a queue."""

    def start(self) -> None: ...
    def put(self, message: Message[Any]) -> None: ...
    def tick(self) -> None: ...
    def has_pending(self) -> bool | None: ...
    def drain(self) -> Any: ...
    def stop(self) -> Any: ...


class _Producer(_End):
    def __init__(self, node: MessageQueueNode, queue: LocalQueue) -> None:
        self._node = node
        self._queue = queue
        self._held: deque[Message[Any]] = deque()  # found no room; at most what was left of a batch

    def start(self) -> None:
        self._node.tick_in(0)  # something may be left from an earlier run

    def put(self, message: Message[Any]) -> None:
        self._held.append(message)
        self.tick()

    def tick(self) -> None:
        held = self._held
        while held:
            if not self._queue.put(held[0], self._node):
                self._node.pause()
                return
            held.popleft()
        self._node.resume()

    def has_pending(self) -> bool | None:
        if not self._held:
            return False
        return True if self._queue.has_consumers() else None

    def stop(self) -> None:
        self._queue.leave(self._node)
        if self._held:
            self._node.record_error(
                NetworkError(
                    f"{len(self._held)} messages found no room in the queue; the next run puts them in"
                )
            )


class _Consumer(_End):
    def __init__(self, node: MessageQueueNode, queue: LocalQueue, port: str) -> None:
        self._node = node
        self._queue = queue
        self._port = port
        node.max_parked = 1  # so that it takes out no more than the edge has room for, and one
        self._hand: Message[Any] | None = None
        self._in_run = False

    def start(self) -> None:
        self._in_run = running_loop() is not None
        if self._in_run:
            self._queue.join(self._node)

    def tick(self) -> None:
        for _ in range(AT_A_TIME if self._in_run else 1):
            if not self._emit_next():
                return
        self._node.tick_in(0)  # others first

    def _emit_next(self) -> bool:
        message = self._queue.take() if self._hand is None else self._hand
        if message is None:
            return False
        try:
            self._node.emit(self._port, message)
        except BackpressureError:
            self._hand = message
            self._node.tick_in(0)  # comes when what is parked has been delivered
            return False
        except BaseException:
            self._hand = None
            raise
        self._hand = None
        return True

    def has_pending(self) -> bool | None:
        return True if self._in_run and (self._hand is not None or len(self._queue)) else None

    def stop(self) -> None:
        self._in_run = False
        self._queue.leave(self._node)
        if self._hand is not None:
            self._queue.put_back(self._hand)
            self._hand = None


class _RedisEnd(_End):
    def __init__(
        self, node: MessageQueueNode, stream: RedisStream, settings: RedisSettings, output_port: str | None
    ) -> None:
        self._node = node
        self._stream = stream
        self._output_port = output_port
        self._link = Link(
            node,
            self._talk,
            listens=output_port is not None,
            buffer=settings.buffer,
            first_wait_s=settings.first_wait_s,
            longest_wait_s=settings.longest_wait_s,
            max_attempts=settings.max_attempts,
        )

    async def _talk(self) -> None:
        if self._output_port is None:
            await self._stream.produce(self._link)
        else:
            await self._stream.consume(self._link, partial(self._node.send, self._output_port))

    def start(self) -> None:
        self._link.start()

    def put(self, message: Message[Any]) -> None:
        try:
            self._link.put(message, encoded(message))
        except NetworkError as error:
            self._node._handle_failure(error, message)

    def tick(self) -> None:
        self._link.tick()

    def has_pending(self) -> bool:
        return self._link.has_pending()

    def drain(self) -> Any:
        return self._link.drain()

    def stop(self) -> Any:
        return self._link.stop()
