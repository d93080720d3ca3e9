"""A queue in Redis: a stream, read by a consumer group."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from meridian.core.message import Message, MessageType
from meridian.nodes.arguments import positive, size
from meridian.nodes.extras import load
from meridian.nodes.network.errors import NetworkError
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from meridian.core.node import Node
    from meridian.nodes.network.link import Link

__all__ = ["RedisSettings", "RedisStream", "encoded"]

PAYLOAD, TRACE = b"payload", b"trace_id"
AT_A_TIME = 64
"""Most messages that one command sends."""

_STALLED_S = 10
"""Most seconds that the server may take for a command, besides the time that it was asked to wait."""


@dataclass(frozen=True)
class RedisSettings:
    """What ``connection_config`` may say about a queue in Redis.

    Attributes:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        group: Consumer group; all of its consumers share the messages.
        consumer: Name of this consumer within the group, each its own; the node's name by default. What a consumer of that
            name had taken and not confirmed when it ended is the first thing it gets.
        maxlen: About how many entries the stream may have: Redis drops the oldest beyond, read or not; ``None`` for all.
        keep: Whether confirmed entries stay in the stream, for other groups.
        count: Most entries that are read at a time.
        block_ms: Most milliseconds that one read waits.
        claim_idle_ms: Take over what another consumer of the group took longer ago and didn't confirm; ``None`` for never.
        buffer: Most messages that a producer holds.
        first_wait_s: Seconds before the second attempt to connect.
        longest_wait_s: Most seconds between two attempts.
        max_attempts: Failures in a row that end the attempts; ``None`` for no end.
    """

    url: str
    group: str = "meridian"
    consumer: str | None = None
    maxlen: int | None = None
    keep: bool = False
    count: int = 64
    block_ms: int = 1000
    claim_idle_ms: int | None = None
    buffer: int = 64
    first_wait_s: float = 0.1
    longest_wait_s: float = 30.0
    max_attempts: int | None = None

    @classmethod
    def read(cls, node: Node, config: Mapping[str, Any]) -> RedisSettings:
        """Read them from ``config``.

        Raises:
            TypeError: a value of a wrong type.
            ValueError: an unknown name, or a value out of its range.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in config if name not in known]
        if unknown:
            raise ValueError(
                f"{type(node).__name__} {node.name!r}: connection_config has {', '.join(map(repr, unknown))}; with a url it may have "
                f"{', '.join(known)}"
            )
        made = cls(**config)
        values: dict[str, Any] = vars(made)
        for name in ("maxlen", "count", "block_ms", "claim_idle_ms", "buffer", "max_attempts"):
            if name not in ("maxlen", "claim_idle_ms", "max_attempts") or values[name] is not None:
                size(node, f"connection_config[{name!r}]", values[name])
        for name in ("first_wait_s", "longest_wait_s"):
            positive(node, f"connection_config[{name!r}]", values[name])
        return made


class RedisStream:
    """One stream, from one node's side.

    Args:
        node: Name of the node.
        name: Key of the stream.
        settings: The rest.

    Raises:
        MissingExtraError: redis isn't installed.
        ValueError: the url isn't one of Redis's.
    """

    def __init__(self, node: str, name: str, settings: RedisSettings) -> None:
        redis = load("redis.asyncio", "redis", f"node {node!r} with a url")
        self._errors = load("redis.exceptions", "redis", f"node {node!r} with a url")
        # Trying again is the link's part, on the run's clock.
        retry = load("redis.asyncio.retry", "redis", f"node {node!r} with a url").Retry
        no_backoff = load("redis.backoff", "redis", f"node {node!r} with a url").NoBackoff
        self._name = name
        self._settings = settings
        self._consumer = settings.consumer or node
        options = {
            "protocol": 2,  # replies are lists, whatever the server could do
            "retry": retry(no_backoff(), 0),
            "socket_connect_timeout": _STALLED_S,
            "socket_timeout": settings.block_ms / 1000 + _STALLED_S,
        }
        try:
            redis.ConnectionPool.from_url(settings.url)
        except ValueError:
            raise ValueError(
                f"node {node!r}: connection_config['url'] must begin with redis://, rediss:// or unix://"
            ) from None
        self._client: Callable[[], Any] = lambda: redis.Redis.from_url(settings.url, **options)

    async def produce(self, link: Link) -> None:
        """Append what ``link`` is to send; returns never."""
        settings = self._settings
        async with self._client() as client:
            await client.ping()
            link.up()
            while True:
                entries = await link.waiting(AT_A_TIME)
                async with client.pipeline(transaction=False) as pipeline:
                    for entry in entries:
                        pipeline.xadd(self._name, entry, maxlen=settings.maxlen, approximate=True)
                    await pipeline.execute()
                link.sent(len(entries))

    async def consume(self, link: Link, accept: Callable[[Message[Any]], Awaitable[Any]]) -> None:
        """Hand entries to ``accept`` and confirm those that it took; returns never."""
        settings = self._settings
        async with self._client() as client:
            try:
                await client.xgroup_create(self._name, settings.group, id="0", mkstream=True)
            except self._errors.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            link.up()
            # What it had before and didn't confirm comes first: after a crash, or if a reply never arrived.
            after: Any = "0"
            while True:
                taken = await self._read(client, after)
                if taken:
                    await self._accept(client, link, accept, taken)
                    if after != ">":
                        after = taken[-1][0]
                elif after != ">":
                    after = ">"
                elif settings.claim_idle_ms is not None:
                    claimed = await client.xautoclaim(
                        self._name,
                        settings.group,
                        self._consumer,
                        settings.claim_idle_ms,
                        count=settings.count,
                    )
                    await self._accept(client, link, accept, claimed[1])

    async def _read(self, client: Any, after: Any) -> list[tuple[Any, dict[bytes, bytes]]]:
        settings = self._settings
        reply = await client.xreadgroup(
            settings.group, self._consumer, {self._name: after},
            count=settings.count, block=settings.block_ms if after == ">" else None,
        )  # fmt: skip
        return reply[0][1] if reply else []

    async def _accept(
        self,
        client: Any,
        link: Link,
        accept: Callable[[Message[Any]], Awaitable[Any]],
        entries: list[tuple[Any, dict[bytes, bytes]]],
    ) -> None:
        done = []
        try:
            for id, entry in entries:
                if entry:  # else it was deleted after it had been taken
                    message = _decoded(link, entry)
                    if message is not None:
                        await accept(message)
                        link.progressed()
                done.append(id)
        finally:  # also when the run stops: what was accepted must not come again
            if done:
                await self._confirm(client, done)

    async def _confirm(self, client: Any, ids: list[Any]) -> None:
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.xack(self._name, self._settings.group, *ids)
            if not self._settings.keep:
                pipeline.xdel(self._name, *ids)
            await pipeline.execute()


def encoded(message: Message[Any]) -> dict[bytes, bytes]:
    """Return the entry for a message: its payload as JSON, and its trace id.

    Raises:
        NetworkError: JSON can't say it.
    """
    payload = message.payload
    try:
        text = json.dumps(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise NetworkError(f"{type_name(payload)} is nothing that JSON can say") from error
    return {PAYLOAD: text.encode(), TRACE: message.get_trace_id().encode()}


def _decoded(link: Link, entry: dict[bytes, bytes]) -> Message[Any] | None:
    """Return the message of an entry; of one that holds none, tell the error policy."""
    try:
        payload = json.loads(entry[PAYLOAD])
    except (KeyError, ValueError, RecursionError):
        link.fail(NetworkError("an entry of the queue holds no JSON"), Message(MessageType.DATA, entry))
        return None
    trace = entry.get(TRACE)
    return Message(
        MessageType.DATA, payload, None, {"trace_id": trace.decode("utf-8", "replace")} if trace else None
    )
