"""Nodes that keep things: in memory, or in a file."""

from __future__ import annotations

import codecs
import heapq
import math
import os
import threading
import weakref
from collections import OrderedDict, deque
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian.core.errors import MeridianError
from meridian.core.message import CONTROL, DATA, Message
from meridian.nodes.alarm import MILLISECOND, Alarm, clock
from meridian.nodes.arguments import flag, interval, member, number, size, wrong
from meridian.nodes.base import (
    BurstNode,
    BurstPipeNode,
    FunctionNode,
    NodeConfig,
    PipeNode,
    setup_standard_ports,
)
from meridian.observability.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BufferNode",
    "CacheNode",
    "EvictionPolicy",
    "FileReaderNode",
    "FileWriterNode",
    "PersistenceStrategy",
]

SECOND = 1_000_000


class StorageError(MeridianError, OSError):
    """A file can't be read or written; the text names the node and the system's reason, never what was written."""


class EvictionPolicy(str, Enum):
    """Which entry a full `CacheNode` gives up."""

    LRU = "lru"
    """The one that wasn't set or got for the longest time."""
    FIFO = "fifo"
    """The one that was set first."""


class PersistenceStrategy(str, Enum):
    """Where a `BufferNode` keeps its items; nothing reads it: they are in memory."""

    MEMORY_ONLY = "memory"
    DISK_ONLY = "disk"


# ---- cache ---------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    value: Any
    expires: int | None
    """Microseconds of the node's clock; it is gone from then on."""


class CacheNode(PipeNode):
    """Keeps values by key, and answers requests for them.

    A request is a DATA message with a dict:

    * ``{"op": "set", "key": str, "value": ..., "ttl_s": ...}``: answered with ``{"op": "set", "key", "status": "ok"}``.
      ``value`` and ``ttl_s`` may be left out.
    * ``{"op": "get", "key": str}``: answered with ``{"op": "get", "key", "hit": bool, "value"}``; ``None`` if there is none.
    * ``{"op": "delete", "key": str}``: answered with ``{"op": "delete", "key", "existed": bool}``.

    Answers carry the trace and the headers of their request. Everything else, CONTROL and ERROR included, is ignored. An
    entry expires exactly when its time is up, read or not. Setting a key again renews its time; under FIFO it keeps its
    place in line.

    Args:
        name: Unique within its graph.
        max_size: Most entries, at least 1; for a new one, expired ones are given up first, then as ``eviction_policy`` says.
        ttl_seconds: How long an entry lives unless its request says so, in whole seconds (fractions are rounded up); 0
            means without end.
        eviction_policy: Which entry is given up.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Cost: constant per request; logarithmic with a time to live.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.storage import CacheNode
        from meridian.testing import simulate

        got = []
        requests = [{"op": "set", "key": "a", "value": 1}, {"op": "get", "key": "a"}]
        simulate(
            graph(
                "g",
                source(requests)
                >> CacheNode("cache", max_size=100)
                >> sink(got.append, name="end"),
            )
        )
        assert got[1] == {"op": "get", "key": "a", "hit": True, "value": 1}
        ```
    """

    regular_ticks = False

    def __init__(
        self,
        name: str,
        max_size: int = 1000,
        ttl_seconds: float = 0,
        eviction_policy: EvictionPolicy = EvictionPolicy.LRU,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._max_size = size(self, "max_size", max_size)
        if number(self, "ttl_seconds", ttl_seconds) < 0:
            raise wrong(ValueError, self, "ttl_seconds", ttl_seconds, "0 or more")
        self._ttl_s = ttl_seconds
        self._lru = member(self, "eviction_policy", eviction_policy, EvictionPolicy) is EvictionPolicy.LRU
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._expiring: list[tuple[int, int, str]] = []
        """A heap of moments and keys; what was set again or deleted since doesn't match its entry any more."""
        self._order = count()
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        self._set_alarm()
        return super().on_start()

    def _pass_on(self, msg: Message[Any]) -> None:
        """Ignore all but requests, as in v1."""

    def _handle_data(self, msg: Message[Any]) -> None:
        request = msg.payload
        if not isinstance(request, dict):
            return
        op, key = request.get("op"), request.get("key")
        if not isinstance(key, str):
            return
        if op == "get":
            answer = {"op": "get", "key": key, **self._get(key)}
        elif op == "set":
            ttl_s = request.get("ttl_s")
            ttl_s = self._ttl_s if ttl_s is None else ttl_s
            if isinstance(ttl_s, bool) or not isinstance(ttl_s, (int, float)) or not math.isfinite(ttl_s):
                return
            self._set(key, request.get("value"), ttl_s)
            answer = {"op": "set", "key": key, "status": "ok"}
        elif op == "delete":
            self._expire()
            answer = {"op": "delete", "key": key, "existed": self._entries.pop(key, None) is not None}
        else:
            return
        self.emit(self._output_port, msg.with_payload(answer))

    def _get(self, key: str) -> dict[str, Any]:
        self._expire()
        entry = self._entries.get(key)
        if entry is None:
            return {"hit": False, "value": None}
        if self._lru:
            self._entries.move_to_end(key)
        return {"hit": True, "value": entry.value}

    def _set(self, key: str, value: Any, ttl_s: float) -> None:
        entries = self._entries
        self._expire()
        if key not in entries and len(entries) >= self._max_size:
            entries.popitem(last=False)
        expires = clock(self) + math.ceil(ttl_s) * SECOND if ttl_s > 0 else None
        entries[key] = _Entry(value, expires)
        if self._lru:
            entries.move_to_end(key)
        if expires is None:
            return
        heapq.heappush(self._expiring, (expires, next(self._order), key))
        if len(self._expiring) > 2 * len(entries) + 64:  # the same keys again and again
            self._expiring = [
                (entry.expires, next(self._order), each)
                for each, entry in entries.items()
                if entry.expires is not None
            ]
            heapq.heapify(self._expiring)
        if self._alarm.at is None or expires < self._alarm.at:
            self._set_alarm()

    def _expire(self) -> None:
        expiring, now = self._expiring, None
        while expiring:
            moment, _, key = expiring[0]
            entry = self._entries.get(key)
            if entry is not None and entry.expires == moment:
                now = clock(self) if now is None else now
                if moment > now:
                    return
                del self._entries[key]
            heapq.heappop(expiring)

    def _set_alarm(self) -> None:
        if self._expiring:
            self._alarm.set_at(self._expiring[0][0])
        else:
            self._alarm.clear()

    def _handle_tick(self) -> None:
        self._expire()
        self._set_alarm()

    def has_pending(self) -> bool | None:
        """Return ``False``: entries that will expire keep no run alive."""
        return False


# ---- buffer --------------------------------------------------------------------------------------------------


class BufferNode(BurstPipeNode):
    """Collects payloads and emits them as a list: after an interval, before a CONTROL message, and at the end.

    The interval begins with the first item of a list, so no item waits longer. CONTROL is forwarded behind the list. Of
    ERROR nothing is done. Once ``buffer_size`` items are there, each new one drops the oldest: that is counted, and
    logged as ``buffer.dropped`` at most once a second.

    Args:
        name: Unique within its graph.
        buffer_size: Most items, at least 1.
        persistence_strategy: v1's; nothing reads it: items are in memory.
        flush_interval_ms: Milliseconds, at least 1.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Attributes:
        dropped: How many items were dropped so far, for want of room.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.storage import BufferNode
        from meridian.testing import simulate

        got = []
        simulate(
            graph("g", source(range(3)) >> BufferNode("buffer") >> sink(got.append, name="end"))
        )
        assert got == [[0, 1, 2]]
        ```
    """

    def __init__(
        self,
        name: str,
        buffer_size: int = 10000,
        persistence_strategy: PersistenceStrategy = PersistenceStrategy.MEMORY_ONLY,
        flush_interval_ms: float = 5000,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._buffer_size = size(self, "buffer_size", buffer_size)
        member(self, "persistence_strategy", persistence_strategy, PersistenceStrategy)
        self._interval = interval(self, "flush_interval_ms", flush_interval_ms)
        self._items: deque[Any] = deque()
        self._alarm = Alarm(self)
        self.dropped = 0

    def on_start(self) -> Any:
        if self._items:  # left from a run that was aborted
            self._alarm.set_in(self._interval)
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        if len(self._items) >= self._buffer_size:
            self._items.popleft()
            self.dropped += 1
            get_logger().warn_limited(
                ("buffer.dropped", self.name), "buffer.dropped", "the buffer is full: its oldest item was dropped",
                node=self.name, buffer_size=self._buffer_size, dropped=self.dropped,
            )  # fmt: skip
        self._items.append(msg.payload)
        if self._alarm.at is None:
            self._alarm.set_in(self._interval)

    def _pass_on(self, msg: Message[Any]) -> None:
        if msg.type is CONTROL:  # ERROR messages end here, as in v1
            self._flush()
            super()._pass_on(msg)

    def _flush(self) -> None:
        self._alarm.clear()
        if self._items:
            items = list(self._items)
            self._items.clear()
            self._emit_all(self._output_port, (Message(DATA, items),))

    def _handle_tick(self) -> None:
        if self._emit_backlog() and self._alarm.is_due():
            self._flush()

    def on_drain(self) -> Any:
        """Emit what is there."""
        self._flush()


# ---- files ---------------------------------------------------------------------------------------------------


def _path(node: FunctionNode, value: Any) -> str:
    try:
        path = os.fspath(value)
    except TypeError:
        raise wrong(TypeError, node, "file_path", value, "a path") from None
    path = os.fsdecode(path)
    if not path:
        raise wrong(ValueError, node, "file_path", value, "a path")
    return path


def _failed(node: FunctionNode, doing: str, error: OSError) -> StorageError:
    """Tell of a system's error without its text, which others may have written."""
    number = error.errno or 0
    told = StorageError(number, f"node {node.name!r} can't {doing} its file: {os.strerror(number)}")
    told.__cause__ = error
    return told


class FileWriterNode(FunctionNode):
    r"""Appends each DATA payload to a file, as a line: ``str(payload)`` in UTF-8, and a newline.

    A line is handed to the system before the next message is handled, whole or not at all: what a full disk took of it is
    taken back. Failures (no space, no permission, a payload without text) follow the error policy; there is no output, so
    under `ErrorPolicy.EMIT_ERROR` they are only counted in the report. CONTROL and ERROR are ignored. The file is opened
    for each line, so it may be moved away or deleted meanwhile. Safe to call from any thread.

    Writing blocks the loop until the system has the line in its cache: microseconds on a local disk, longer on a busy
    network file system. It isn't synced to the disk.

    Args:
        name: Unique within its graph.
        file_path: The file; its folder is made here and now if it isn't there.
        input_port: Name of the input.
        config: Settings; default ones if left out.

    Raises:
        OSError: the folder can't be made.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from meridian import graph, source
        from meridian.nodes.storage import FileWriterNode
        from meridian.testing import simulate

        path = Path(tempfile.mkdtemp()) / "new folder" / "numbers.txt"
        simulate(graph("g", source(range(3)) >> FileWriterNode("writer", str(path))))
        assert path.read_text(encoding="utf-8") == "0\n1\n2\n"
        ```
    """

    def __init__(
        self,
        name: str,
        file_path: str | os.PathLike[str],
        input_port: str = "input",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports([input_port], None), config)
        self._input_port = input_port
        self._path = _path(self, file_path)
        self._lock = threading.Lock()
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port != self._input_port or msg.type is not DATA:
            return
        try:
            self._append(f"{msg.payload!s}\n".encode())
        except OSError as error:
            self._handle_failure(_failed(self, "write", error), msg)
        except Exception as error:  # noqa: BLE001 - a payload's own __str__ may raise anything
            self._handle_failure(error, msg)

    def _append(self, line: bytes) -> None:
        rest = memoryview(line)
        with self._lock, open(self._path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END) if file.seekable() else None
            try:
                while rest:
                    rest = rest[file.write(rest) or 0 :]
            except OSError:
                if len(rest) < len(line) and end is not None:
                    file.truncate(end)
                raise


BLOCK_BYTES = 64 * 1024
"""How much a `FileReaderNode` reads at a time."""

MAX_LINE_BYTES = 1024 * 1024
"""Longer lines come in pieces."""

MAX_LINES = 1000
"""How many lines it reads at a time."""


class _Block(NamedTuple):
    """What was read: lines with the position after each, and whether there is more to be had at once."""

    lines: list[tuple[bytes, int]]
    more: bool


class FileReaderNode(BurstNode):
    r"""Emits the lines of a text file, as str without the newline, and then those that are appended.

    The file is read as UTF-8; what isn't becomes U+FFFD. A line counts when its newline is there: a part of one is held
    back. Blank lines are lines. Lines over 1 MiB come in pieces of that size. A missing file is waited for.

    * **Truncated**: a file that got shorter than what was read is read from its beginning. One that was rewritten and is
      as long or longer by the next look can't be told from one that has grown.
    * **Rotated**: when another file has taken its name, the old one is read to its end, its last line complete or not,
      and then the new one from its beginning.

    `position` moves on only when a line has been accepted downstream, and nothing is read ahead of that but one block: 1,000
    lines or 64 KiB, whatever is less (1 MiB while a line is that long). So a tick blocks the loop for a bounded time, and a
    file of any size needs no more memory. Between two blocks there is a millisecond for others, and for a shutdown, which
    doesn't wait for the end of the file. A failure to read follows the error policy, at each look.

    Args:
        name: Unique within its graph.
        file_path: The file.
        polling_interval_ms: Milliseconds between two looks at a file that has been read to its end, at least 1.
        follow_mode: Wait for more, for ever: such a run ends by `Scheduler.shutdown`, or at a quiet moment after
            ``shutdown_timeout_s``, as with any endless ticker. If ``False``, the node is finished at the end of the file
            (at once, with a warning in the log, if there is none); a last line without newline counts then.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Attributes:
        position: Bytes of the file up to which all lines have been accepted. Kept between runs.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from meridian import graph, sink
        from meridian.nodes.storage import FileReaderNode
        from meridian.testing import simulate

        path = Path(tempfile.mkdtemp()) / "lines.txt"
        path.write_text("one\ntwo", encoding="utf-8")
        got = []
        simulate(
            graph(
                "g",
                FileReaderNode("reader", str(path), follow_mode=False)
                >> sink(got.append, name="end"),
            )
        )
        assert got == ["one", "two"]
        ```
    """

    def __init__(
        self,
        name: str,
        file_path: str | os.PathLike[str],
        polling_interval_ms: float = 1000,
        follow_mode: bool = True,
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        self._output_port = output_port
        self._path = _path(self, file_path)
        self._interval = interval(self, "polling_interval_ms", polling_interval_ms)
        self._follow = flag(self, "follow_mode", follow_mode)
        self.regular_ticks = self._follow  # an endless ticker, so that v1's rule for the end holds
        self._alarm = Alarm(self)
        self._is_finished = False
        self._is_behind = False
        self._looked = 0
        """When the look began that is going on, in microseconds of the node's clock."""
        self._file: int | None = None
        self._let_go: Callable[[], Any] | None = None
        self._identity: tuple[int, int] | None = None
        """Which file ``position`` is about."""
        self.position = 0

    def on_start(self) -> Any:
        self._is_finished = False
        self._is_behind = True
        self._looked = clock(self)
        self._alarm.set_in(0)
        return super().on_start()

    def _handle_tick(self) -> None:
        if not self._emit_backlog() or self._is_finished:
            return
        if self._alarm.at is not None and not self._alarm.is_due():
            return
        if not self._is_behind:
            self._looked = clock(self) if self._alarm.at is None else self._alarm.at
        try:
            block = self._read()
        except OSError as error:
            self._close()
            self._caught_up()
            self._handle_failure(_failed(self, "read", error))
            return
        if block.more:
            self._is_behind = True
            self._alarm.set_in(MILLISECOND)  # a quiet moment, in which a shutdown can end the reading
        else:
            self._caught_up()
        self._emit_all(self._output_port, self._messages(block))

    def _messages(self, block: _Block) -> Iterator[Message[Any]]:
        for line, end in block.lines:
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")
            yield Message(DATA, text)
            self.position = end  # only here when the line was accepted

    def _caught_up(self) -> None:
        self._is_behind = False
        if self._follow:
            self._alarm.at = self._looked  # from when the look began, however long it took
            self._alarm.repeat(self._interval)
        else:
            self._finish()

    def _finish(self) -> None:
        self._is_finished = True
        self._is_behind = False
        self._close()

    # ---- the file --------------------------------------------------------------------------------------------

    def _read(self) -> _Block:
        """Read the next lines from ``position`` on."""
        file = self._opened()
        if file is None:
            return _Block([], more=False)
        was_replaced = (
            self._follow and self._was_replaced()
        )  # asked first: what is read now was written before
        if os.fstat(file).st_size < self.position:
            self.position = 0
        data = _read_at(file, self.position, BLOCK_BYTES)
        if len(data) == BLOCK_BYTES and b"\n" not in data:
            data = _read_at(file, self.position, MAX_LINE_BYTES)
        lines: list[tuple[bytes, int]] = []
        begin = 0
        while len(lines) < MAX_LINES and (end := data.find(b"\n", begin) + 1):
            lines.append((data[begin:end], self.position + end))
            begin = end
        if lines:
            return _Block(lines, more=True)
        if len(data) == MAX_LINE_BYTES:
            data = data[: _whole_characters(data)]
            return _Block([(data, self.position + len(data))], more=True)
        if self._follow and not was_replaced:
            return _Block([], more=False)
        if data:  # nobody will complete this line
            return _Block([(data, self.position + len(data))], more=self._follow)
        if was_replaced:
            self._close()  # the next look opens the new one
        return _Block([], more=was_replaced)

    def _opened(self) -> int | None:
        if self._file is not None:
            return self._file
        try:
            file = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            if not self._follow:
                get_logger().warn(
                    "file_reader.missing", "there is no file to read: the node is finished", node=self.name
                )
            return None
        # A descriptor and not a file object: a node that nobody stops lets go of it without a warning.
        self._file, self._let_go = file, weakref.finalize(self, os.close, file)
        identity = _identity(os.fstat(file))
        if identity != self._identity:
            self._identity, self.position = identity, 0
        return file

    def _close(self) -> None:
        if self._let_go is not None:
            self._let_go()
        self._file = self._let_go = None

    def _was_replaced(self) -> bool:
        try:
            return _identity(os.stat(self._path)) != self._identity
        except FileNotFoundError:
            return False  # moved away; whoever writes may go on there until there is a new one

    # ---- the end ---------------------------------------------------------------------------------------------

    def on_drain(self) -> Any:
        """Read no further; the next run goes on from `position`."""
        self._finish()

    def on_stop(self) -> Any:
        self._finish()
        return super().on_stop()

    def has_pending(self) -> bool | None:
        """Say whether there is more of the file; ``None`` when it was read to its end in follow mode: nobody knows."""
        if self._backlog or self._is_behind:
            return True
        return None if self._follow else not self._is_finished


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _read_at(file: int, position: int, most: int) -> bytes:
    """Read ``most`` bytes, or less at the end of the file."""
    os.lseek(file, position, os.SEEK_SET)
    data = b""
    while len(data) < most and (read := os.read(file, most - len(data))):
        data += read
    return data


def _whole_characters(data: bytes) -> int:
    """Return how many bytes of ``data`` come before a character that is cut off by its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    return len(data) - len(decoder.getstate()[0])
